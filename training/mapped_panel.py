"""A panel whose values lie in a memory-mapped file: tens of thousands of series without holding them in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.panel import Panel, utc_ns

ROWS_AT_ONCE = 500_000
"""So many rows of a frame are in memory at a time."""

_UNWRITTEN = np.uint64(0x7FF8_0000_0000_0001)
"""A NaN of this bit pattern marks a window that no row has named yet; any other says that one has."""


def map_panel(frame: pl.DataFrame | pl.LazyFrame, window_ns: int, season: int, file: Path) -> Panel:
    """The panel of a frame (series, tenant, resource, timestamp, value), as `Panel.from_frame` has it, in ``file``.

    The frame is read in parts; a lazy one (`polars.scan_parquet`) is never whole in memory. The file has 8 bytes a
    window; where the system lets go of files late (Linux, macOS) it may be deleted at once. Raises ValueError for an
    empty frame, duplicate rows, timestamps off the grid, rows without series or timestamp and infinite values.
    """
    lazy = frame.lazy()
    lazy = lazy.select(
        pl.col("series", "tenant", "resource").cast(pl.String),
        utc_ns(lazy.collect_schema()["timestamp"]),
        pl.col("value").cast(pl.Float64),
    )
    _check(lazy)
    keys = lazy.select("series", "tenant", "resource").unique().sort("series").collect()
    if keys.is_empty():
        raise ValueError("no rows: a panel needs at least one series with one value")
    if keys["series"].n_unique() != keys.height:
        raise ValueError("a series has two tenants or resources; name them apart")
    span = lazy.select(pl.col("timestamp").min().alias("first"), pl.col("timestamp").max().alias("last")).collect()
    start, last = int(span["first"][0]), int(span["last"][0])
    values = create(file, keys.height, (last - start) // window_ns + 1)
    try:
        values.view(np.uint64)[:] = _UNWRITTEN
        place = keys.select("series").with_row_index("row").lazy()
        rows = lazy.join(place, on="series", how="left", maintain_order="left").select("row", "timestamp", "value")
        for part in rows.collect_batches(chunk_size=ROWS_AT_ONCE):
            _write(part, values, start, window_ns)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    series, tenants, resources = (tuple(keys[name].to_list()) for name in ("series", "tenant", "resource"))
    return Panel(series, tenants, resources, reopened(values, file), start, window_ns, season)


def create(file: Path, series: int, windows: int) -> NDArray[np.float64]:
    """A new file of zeros (series, windows), to be written to."""
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float64, shape=(series, windows))


def reopened(values: NDArray[np.float64], file: Path) -> NDArray[np.float64]:
    """What was written, read-only: pages are loaded when they are looked at and may be dropped again."""
    assert isinstance(values, np.memmap)
    values.flush()
    return np.asarray(np.load(file, mmap_mode="r"))


def handed_over(panel: Panel, file: Path) -> Panel:
    """Put a panel's values into a file for other processes; what is returned goes to them, and to `taken_over`."""
    np.save(file, panel.values)
    return replace(panel, values=panel.values[:, :0])


def taken_over(rest: Panel, file: Path) -> Panel:
    """The panel that another process put into a file."""
    return replace(rest, values=np.asarray(np.load(file, mmap_mode="r")))


def is_mapped(panel: Panel) -> bool:
    """Whether a panel's values lie in a file."""
    base: object = panel.values
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def _check(lazy: pl.LazyFrame) -> None:
    """Raise ValueError where rows belong nowhere or have no size."""
    nameless = (pl.col("series").is_null() | pl.col("timestamp").is_null()).sum().alias("nameless")
    infinite = pl.col("value").is_infinite().sum().alias("infinite")
    found = lazy.select(nameless, infinite).collect()
    if found["nameless"][0]:
        raise ValueError(f"{found['nameless'][0]} rows have no series or no timestamp; remove them")
    if found["infinite"][0]:
        raise ValueError(
            f"{found['infinite'][0]} values are infinite; what is missing is null, all else a finite number"
        )


def _write(part: pl.DataFrame, values: NDArray[np.float64], start: int, window_ns: int) -> None:
    """Put a part's rows where they belong; raises ValueError for a place that is taken or off the grid."""
    slot, rest = np.divmod(part["timestamp"].to_numpy() - start, window_ns)
    if rest.any():
        raise ValueError(f"timestamps do not lie on a grid of {window_ns / 1e9:g} s; aggregate to windows first")
    flat = part["row"].to_numpy().astype(np.int64) * values.shape[1] + slot
    taken = values.reshape(-1).view(np.uint64)[flat] != _UNWRITTEN
    if taken.any() or len(np.unique(flat)) != len(flat):
        raise ValueError("duplicate rows: a series has two values for one window")
    values.reshape(-1)[flat] = part["value"].fill_null(float("nan")).to_numpy()
