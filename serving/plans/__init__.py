"""Price plans as files: read, checked with file, line and remedy, kept by version."""
