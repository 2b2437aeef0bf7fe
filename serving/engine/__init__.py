"""The real-time engine: one pure step, its state and the worker that commits both."""
