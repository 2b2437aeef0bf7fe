"""What the platform keeps beside the log: windows, for the engine to add to and others to read."""
