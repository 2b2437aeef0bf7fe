"""The demo: the whole job on this machine, with real processes and real requests."""
