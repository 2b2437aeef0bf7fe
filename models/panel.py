"""The panel: many series of equal windows side by side, the one input that every forecaster takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.planned import Planned


@dataclass(frozen=True, slots=True)
class Panel:
    """Values of shape (series, windows); NaN is missing. Window k ends before ``start_ns + (k + 1) * window_ns``.

    ``planned`` are events entered into a calendar, as a release or a sale: `until` keeps of them what was known then.
    """

    series: tuple[str, ...]
    tenants: tuple[str, ...]
    resources: tuple[str, ...]
    values: NDArray[np.float64]
    start_ns: int
    window_ns: int
    season: int
    planned: Planned | None = None

    def __post_init__(self) -> None:
        """Check that names and values agree; raises ValueError naming the sizes."""
        names = {len(self.series), len(self.tenants), len(self.resources)}
        if self.values.ndim != 2 or names != {self.values.shape[0]}:
            raise ValueError(
                f"a panel of {len(self.series)} series, {len(self.tenants)} tenants and {len(self.resources)} "
                f"resources needs values of shape (series, windows), not {self.values.shape}"
            )
        if self.planned is not None and self.planned.applies.shape[1] != self.values.shape[0]:
            raise ValueError(f"planned events of {self.planned.applies.shape[1]} series, but {len(self.series)} series")

    @property
    def windows(self) -> int:
        """How many windows the panel holds."""
        return int(self.values.shape[1])

    def until(self, cut: int) -> Panel:
        """The first ``cut`` windows: all that a forecast made at window ``cut`` may know."""
        known = None if self.planned is None else self.planned.known_at(self.start_ns + cut * self.window_ns)
        return replace(self, values=self.values[:, :cut], planned=known)

    def select(self, rows: NDArray[np.int64]) -> Panel:
        """The series of the given row numbers."""
        pick = [int(row) for row in rows]
        return replace(
            self,
            series=tuple(self.series[row] for row in pick),
            tenants=tuple(self.tenants[row] for row in pick),
            resources=tuple(self.resources[row] for row in pick),
            values=self.values[rows],
            planned=None if self.planned is None else self.planned.of(rows),
        )

    def times_ns(self, extra: int = 0) -> NDArray[np.int64]:
        """Start of every window in Unix nanoseconds, and of ``extra`` windows after the last."""
        return self.start_ns + np.arange(self.windows + extra, dtype=np.int64) * self.window_ns

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, window_ns: int, season: int) -> Panel:
        """Pivot a frame (series, tenant, resource, timestamp, value) into a panel, series in sorted order.

        Windows without a row are NaN. Raises ValueError for an empty frame, duplicate rows or uneven timestamps.
        """
        if frame.is_empty():
            raise ValueError("no rows: a panel needs at least one series with one value")
        names = ("series", "tenant", "resource")
        frame = frame.with_columns(pl.col(name).cast(pl.String) for name in names)
        stamp = frame.select(utc_ns(frame.schema["timestamp"]))["timestamp"]
        start = int(stamp.min())  # type: ignore[arg-type]
        slot = (stamp - start) // window_ns
        if ((stamp - start) % window_ns != 0).any():
            raise ValueError(f"timestamps do not lie on a grid of {window_ns / 1e9:g} s; aggregate to windows first")
        keys = frame.select("series", "tenant", "resource").unique(maintain_order=True).sort("series")
        row = frame.join(keys.with_row_index("row"), on="series", how="left", maintain_order="left")["row"].to_numpy()
        values = np.full((keys.height, int(slot.max()) + 1), np.nan)  # type: ignore[arg-type]
        flat = row.astype(np.int64) * values.shape[1] + slot.to_numpy()
        if len(np.unique(flat)) != len(flat):
            raise ValueError("duplicate rows: a series has two values for one window")
        values.reshape(-1)[flat] = frame["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        series, tenants, resources = (tuple(keys[name].to_list()) for name in names)
        return cls(series, tenants, resources, values, start, window_ns, season)

    def time_of(self, window: int) -> datetime:
        """Start of a window as an aware UTC datetime."""
        return datetime.fromtimestamp((self.start_ns + window * self.window_ns) / 1e9, UTC)


def utc_ns(kind: pl.DataType) -> pl.Expr:
    """The column ``timestamp`` of a kind (a date, or a datetime of any time zone; UTC where it has none) as Unix ns."""
    column = pl.col("timestamp")
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.Datetime("ns")).cast(pl.Int64)
