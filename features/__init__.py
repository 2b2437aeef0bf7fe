"""From events to durable log to Polars frames; knows the wire form of events and nothing else of ours."""
