"""Meter a running program by the micro-operation."""
