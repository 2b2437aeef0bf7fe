"""The real-time engine: log in, windows out, one pure step in between."""
