"""Series are complete: a window without usage is a zero, a meter has its own name."""

from __future__ import annotations

import polars as pl

from features.series import all_series, to_series
from features.windows import aggregate
from tests.features.events import batch, event

SECOND = 1_000_000_000


def _windows() -> pl.DataFrame:
    events = [
        event(-10.0, cpuCycles=5, units=1.0, meter="executions"),
        event(-8.0, cpuCycles=7, units=1.0, meter="executions"),
        event(-8.0, "bo", kind="CUSTOM", units=30.0, meter="tokens"),
    ]
    return aggregate(pl.DataFrame(pl.from_arrow(batch(events).rows)), SECOND)


def test_windows_without_usage_are_zeros() -> None:
    """A forecaster sees the pause between two uses."""
    series = to_series(_windows(), "cpu_cycles", SECOND)
    assert series["series"].unique().to_list() == ["ada|checkout|CPU_INSTRUCTION|cpu_cycles"]
    assert series.sort("timestamp")["value"].to_list() == [5.0, 0.0, 7.0]


def test_meters_are_series_of_their_own() -> None:
    """Runs and tokens are forecast by their names, and idle resources are left out."""
    names = all_series(_windows(), SECOND)["series"].unique().sort().to_list()
    assert "ada|checkout|CPU_INSTRUCTION|executions" in names
    assert "bo|checkout|CUSTOM|tokens" in names
    assert not [name for name in names if name.endswith("disk_bytes")]
