"""Billing periods by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime

NANOSECONDS = 1_000_000_000


def month_ns(now_ns: int) -> tuple[int, int]:
    """Start and end of the calendar month in UTC."""
    now = datetime.fromtimestamp(now_ns / NANOSECONDS, UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()) * NANOSECONDS, int(end.timestamp()) * NANOSECONDS
