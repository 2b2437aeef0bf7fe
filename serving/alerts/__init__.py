"""From scores to what people are told: episodes with a beginning, an end, a cause and a price."""
