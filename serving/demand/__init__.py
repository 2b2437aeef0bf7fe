"""Prices that follow the load: signals, the published prices, and the thread that publishes them."""
