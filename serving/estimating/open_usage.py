"""Usage of windows that have not closed: it counts towards a bill at once, in place of what was expected of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from serving.accounts.usage_columns import column_sums
from serving.estimating.priced_usage import Wanted
from serving.pricing.paths import UsageColumn
from serving.storage.history import History

NANOSECONDS = 1_000_000_000
NEAR_WINDOWS = 6
"""How many windows from the last closed one on may be open; usage beyond them waits until some have closed."""
PARTS_OF_WINDOW = 60
"""What has passed of an open window is told in such parts, so that equal questions stay equal for as long."""


@dataclass(frozen=True, slots=True)
class OpenUsage:
    """By column what was used in each of the first windows after the last closed one, and what has passed of each.

    Equal where usage and passed shares are; ``until_ns``, the engine's watermark, tells how far usage is known.
    """

    used: tuple[tuple[UsageColumn, tuple[float, ...]], ...] = ()
    passed: tuple[float, ...] = (0.0,) * NEAR_WINDOWS
    until_ns: int = field(default=0, compare=False)


def open_usage(
    history: History, user: str, window_s: int, closed_ns: int, wanted: Wanted
) -> tuple[tuple[UsageColumn, tuple[float, ...]], ...]:
    """What a user used in the windows from ``closed_ns`` on, by wanted column and window."""
    window_ns = window_s * NANOSECONDS
    frame = history.windows(window_s, closed_ns, closed_ns + NEAR_WINDOWS * window_ns, user)
    slot = (pl.col("window_start").cast(pl.Int64) - closed_ns) // window_ns
    sums = column_sums(frame.with_columns(slot.alias("slot")), NEAR_WINDOWS)
    return tuple((column, tuple(values)) for column, values in sums.items() if wanted.column(column))


def passed_shares(window_s: int, closed_ns: int, watermark_ns: int) -> tuple[float, ...]:
    """What share of each window from ``closed_ns`` on lies before the watermark, in `PARTS_OF_WINDOW`."""
    window_ns = window_s * NANOSECONDS
    shares = ((watermark_ns - closed_ns - at * window_ns) / window_ns for at in range(NEAR_WINDOWS))
    return tuple(int(PARTS_OF_WINDOW * min(max(share, 0.0), 1.0)) / PARTS_OF_WINDOW for share in shares)
