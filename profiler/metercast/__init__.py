"""Meter a running program by the micro-operation."""

from metercast.operations import custom, metered, operation, set_user
from metercast.runtime import flush, pause, resume, start, stop

__all__ = ["custom", "flush", "metered", "operation", "pause", "resume", "set_user", "start", "stop"]
