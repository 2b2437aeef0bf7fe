"""Rates usage under a plan: Decimal in, Decimal out, no clock and no I/O."""
