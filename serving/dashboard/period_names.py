"""What a period is called, and which ones lie before and after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from serving.accounts.periods import month_ns
from serving.pricing.usage import Period

NANOSECONDS = 1_000_000_000
_DAY_NS = 86_400 * NANOSECONDS


def period_name(period: Period) -> str:
    """As people say it: a month by its name, days without their times, times of one day without repeating the day."""
    start, end = (datetime.fromtimestamp(at // NANOSECONDS, UTC) for at in (period.start_ns, period.end_ns))
    if _is_month(period):
        return f"{start:%B %Y}"
    if period.start_ns % _DAY_NS == period.end_ns % _DAY_NS == 0:
        last = end - timedelta(days=1)
        return _day(last) if last <= start else f"{_day(start)} to {_day(last)}"
    if start.date() == end.date():
        return f"{_day(start)}, {start:%H:%M:%S} to {end:%H:%M:%S} UTC"
    return f"{_day(start)}, {start:%H:%M:%S} to {_day(end)}, {end:%H:%M:%S} UTC"


def period_before(period: Period) -> Period:
    """The month before a month, otherwise as long a span up to the period's start."""
    if _is_month(period):
        return Period(*month_ns(period.start_ns - NANOSECONDS))
    return Period(2 * period.start_ns - period.end_ns, period.start_ns)


def period_after(period: Period) -> Period:
    """The month after a month, otherwise as long a span from the period's end on."""
    if _is_month(period):
        return Period(*month_ns(period.end_ns))
    return Period(period.end_ns, 2 * period.end_ns - period.start_ns)


def _is_month(period: Period) -> bool:
    return month_ns(period.start_ns) == (period.start_ns, period.end_ns)


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"
