"""Forecasters behind one contract, one a file; the registry names them."""
