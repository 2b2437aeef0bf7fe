"""Numbers, moments and names as people read them: the filters of all templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from serving.alerts.wording import quantity


def money(amount: object, places: int = 2) -> str:
    """An amount for reading: thousands apart, small ones with as many places as they need to be told from nothing."""
    value = Decimal(str(amount))
    if value and abs(value) < Decimal("0.01") and places == 2:
        places = 4 if abs(value) >= Decimal("0.0001") else 6
    return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"


def moment(text: str | None) -> str:
    """An ISO 8601 moment for reading, in UTC."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%d %b %Y, %H:%M:%S").lstrip("0") + " UTC"


def share(value: float) -> str:
    """A part of a whole for reading: none and all are told from nearly none and nearly all."""
    if 0 < value < 0.005:
        return "under 1%"
    if 0.995 < value < 1:
        return "over 99%"
    return f"{value:.0%}"


def chance(value: float) -> str:
    """A probability for reading, counted over sample paths: never certain, as there are only so many of them."""
    return share(min(max(value, 0.001), 0.999))


_UNITS = (
    ("cpu_cycles", "cycles"),
    ("memory_bytes", "B of memory"),
    ("network_bytes", "B of network"),
    ("disk_bytes", "B of disk"),
)


def used(usage: Mapping[str, float]) -> str:
    """Usage for reading: the resources that are not zero, with decimal prefixes."""
    parts = [quantity(usage[name], unit) for name, unit in _UNITS if usage.get(name)]
    seconds = usage.get("execution_time_ms", 0.0) / 1_000
    return " · ".join([*parts, f"{seconds:,.3g} s"] if seconds >= 0.001 else parts)


def span(seconds: float) -> str:
    """A length of time for reading, in its largest whole unit."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds:g} seconds"


READING: dict[str, Any] = {
    "money": money,
    "moment": moment,
    "share": share,
    "chance": chance,
    "used": used,
    "span": span,
}
"""The filters by the names that templates know them by."""
