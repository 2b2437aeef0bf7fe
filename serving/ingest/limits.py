"""What one request may hold, and the error of a body that holds more or cannot be read."""

from __future__ import annotations

from dataclasses import dataclass


class BodyError(ValueError):
    """A body that cannot be taken; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold: bytes as sent, bytes unpacked, and rows."""

    body_bytes: int = 16 << 20
    unpacked_bytes: int = 64 << 20
    rows: int = 100_000

    def check_rows(self, rows: int) -> None:
        """Raises BodyError 413 for more rows than allowed."""
        if rows > self.rows:
            raise BodyError(413, f"{rows} events in one body, at most {self.rows}; send smaller batches")
