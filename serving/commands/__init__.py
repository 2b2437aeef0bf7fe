"""Subcommands of `metercast` that the serving room owns, one a file."""
