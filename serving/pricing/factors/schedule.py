"""Time of use: a factor by local time, weekday and holiday, looked up at the instant of the event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

HOLIDAY = "holiday"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", HOLIDAY)


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` up to ``end`` local time on the named days; an end not after the start is on the next day."""

    days: frozenset[str]
    start: time
    end: time
    factor: Decimal

    def __post_init__(self) -> None:
        """Raises ValueError for unknown days or a negative factor."""
        unknown = self.days - set(DAYS)
        if unknown:
            raise ValueError(f"unknown day {sorted(unknown)[0]!r}; allowed are {', '.join(DAYS)}")
        if self.factor < 0:
            raise ValueError(f"a factor of {self.factor}; it must not be negative")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The first window that holds an instant gives its factor, 1 where none does.

    A holiday is no weekday: only windows that name ``holiday`` hold on it. Outside [from_ns, until_ns) the factor
    is 1. Instants are turned into local time, so days of 23 and 25 hours need no rule of their own.
    """

    id: str
    timezone: ZoneInfo
    windows: tuple[Window, ...]
    holidays: frozenset[date] = frozenset()
    from_ns: int | None = None
    until_ns: int | None = None

    def at(self, time_ns: int) -> Decimal:
        """The factor in force at an instant, Unix nanoseconds."""
        if (self.from_ns is not None and time_ns < self.from_ns) or (
            self.until_ns is not None and time_ns >= self.until_ns
        ):
            return Decimal(1)
        local = datetime.fromtimestamp(time_ns // 1_000_000_000, self.timezone)
        return next((window.factor for window in self.windows if self._holds(window, local)), Decimal(1))

    def _holds(self, window: Window, local: datetime) -> bool:
        now = local.time()
        if window.start < window.end:
            return window.start <= now < window.end and self._day(local.date()) in window.days
        if now >= window.start:
            return self._day(local.date()) in window.days
        return now < window.end and self._day(local.date() - timedelta(days=1)) in window.days

    def _day(self, day: date) -> str:
        return HOLIDAY if day in self.holidays else DAYS[day.weekday()]
