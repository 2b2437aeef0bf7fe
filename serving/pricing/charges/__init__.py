"""Charge models, one a file; the registry names them."""
