"""What metering itself costs the metered programs, and what it had to leave out, as their profilers tell it."""

from __future__ import annotations

from typing import Any

import polars as pl

from serving.storage.history import History

NANOSECONDS = 1_000_000_000
SPAN_S = 60
SELF, DROPPED = "PROFILER_SELF", "dropped_events"


def overhead(history: History, window_s: int, until_ns: int) -> dict[str, Any]:
    """The last minute of closed windows before ``until_ns``, over all users.

    ``profiler_share`` is the profilers' part of all CPU that was metered, as text in per cent (a dash where none was);
    ``profiler_of_core`` is the time they took of one processor core, which tells whether that part is worth a thought;
    ``dropped_events`` is how many events lost their detail, whose totals are billed all the same.
    """
    span_s = max(SPAN_S, window_s)
    totals = history.totals(window_s, until_ns - span_s * NANOSECONDS, until_ns)
    own = totals.filter(pl.col("micro_operation_type") == SELF)
    cycles, own_cycles = int(totals["cpu_cycles"].sum()), int(own["cpu_cycles"].sum())
    dropped = own.filter(pl.col("meter") == DROPPED)["units"].sum()
    return {
        "profiler_share": f"{100 * own_cycles / cycles:.1f} %" if cycles else "–",
        "profiler_of_core": f"{float(own['execution_time_ms'].sum()) / span_s / 10:.2f} %",
        "dropped_events": int(dropped),
    }
