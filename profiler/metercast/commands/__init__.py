"""The profiler's own subcommands."""
