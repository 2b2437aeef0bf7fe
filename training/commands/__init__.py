"""Subcommands of `metercast` that the training room owns, one a file."""
