"""Where the axes of charts are marked: round amounts, and round times."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil, floor, log10

NANOSECONDS = 1_000_000_000
_SECONDS = (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000)
_DAY_S = 86_400


def round_ticks(top: float, count: int = 4) -> list[float]:
    """Amounts from zero up to the first one that is at least ``top``, 1, 2 or 5 of a power of ten apart."""
    rough = max(top, 1e-9) / count
    power = 10.0 ** floor(log10(rough))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough * 0.999)
    return [step * place for place in range(ceil(top / step - 1e-9) + 1)]


def amount_label(amount: float, step: float) -> str:
    """An amount with as many places as ticks ``step`` apart need, at most thousands apart."""
    places = max(0, -floor(log10(step) + 1e-9)) if step < 1 else 0
    return f"{amount:,.{places}f}"


def time_ticks(start_ns: int, end_ns: int, most: int = 6) -> list[tuple[float, str]]:
    """(share of the span, label) of round times in UTC within it, both ends left out; at most ``most``."""
    span_s = (end_ns - start_ns) / NANOSECONDS
    step_s = next((step for step in _SECONDS if span_s / step <= most), ceil(span_s / most / _DAY_S) * _DAY_S)
    first = -(-start_ns // (step_s * NANOSECONDS))
    ticks = []
    for number in range(first, end_ns // (step_s * NANOSECONDS) + 1):
        at_ns = number * step_s * NANOSECONDS
        if start_ns < at_ns < end_ns:
            ticks.append(((at_ns - start_ns) / (end_ns - start_ns), time_label(at_ns, step_s)))
    return ticks


def time_label(at_ns: int, step_s: int) -> str:
    """A time as marks ``step_s`` apart need it: with seconds, with minutes, or the day alone."""
    at = datetime.fromtimestamp(at_ns / NANOSECONDS, UTC)
    if step_s < 60:
        return at.strftime("%H:%M:%S")
    if step_s < _DAY_S:
        return at.strftime("%H:%M") if at.hour or at.minute else at.strftime("%d %b").lstrip("0")
    return at.strftime("%d %b").lstrip("0")
