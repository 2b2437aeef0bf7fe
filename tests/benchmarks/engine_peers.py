"""Others over the engine's events: windows in Polars, DuckDB and pandas, and River's statistics of each series."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from engine_events import SECOND_NS, WINDOWS_S, Spent, steps

from features.windows import KEYS, RESOURCES


def polars_windows(directory: Path, limit: int) -> dict[str, Any]:
    """Windows of the same lengths and nothing else: no state, no baselines, nothing written."""
    from features.windows import aggregate, merge

    spent, events, parts = Spent(), 0, []
    for rows in itertools.islice(steps(directory), limit):
        events += sum(batch.num_rows for batch in rows)
        with spent:
            parts.append(aggregate(_summed(rows), WINDOWS_S[0] * SECOND_NS))
    with spent:
        counts = [merge(pl.concat(parts), window_s * SECOND_NS).height for window_s in WINDOWS_S]
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def duckdb_windows(directory: Path, limit: int) -> dict[str, Any]:
    """The same windows by SQL over each step's Arrow table, summed at the end."""
    import duckdb

    connection, spent, events = duckdb.connect(), Spent(), 0
    keys = ", ".join(("start", *KEYS))
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("events", *RESOURCES))
    connection.execute("SET threads = 1")
    for number, rows in enumerate(itertools.islice(steps(directory), limit)):
        events += sum(batch.num_rows for batch in rows)
        events_of_step = pa.Table.from_batches(rows)
        start = f"epoch_ns(timestamp) // {WINDOWS_S[0] * SECOND_NS}"
        query = f"SELECT *, {start} AS start, 1 AS events FROM events_of_step"
        into = "INSERT INTO parts" if number else "CREATE TABLE parts AS"
        with spent:
            connection.register("events_of_step", events_of_step)
            connection.execute(f"{into} SELECT {keys}, {sums} FROM ({query}) GROUP BY ALL")
    counts = []
    for window_s in WINDOWS_S:
        longer = f"start // {window_s // WINDOWS_S[0]} AS start"
        with spent:
            query = f"SELECT {keys}, {sums} FROM (SELECT * REPLACE ({longer}) FROM parts) GROUP BY ALL"
            counts.append(connection.execute(f"CREATE TABLE windows_{window_s} AS {query}").fetchone()[0])
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def pandas_windows(directory: Path, limit: int) -> dict[str, Any]:
    """The same windows with pandas, whose conversion from Arrow is left out of the time."""
    import pandas as pd

    spent, events, parts = Spent(), 0, []
    for rows in itertools.islice(steps(directory), limit):
        frame = pa.Table.from_batches(rows).select(["timestamp", *KEYS, *RESOURCES]).to_pandas()
        events += len(frame)
        with spent:
            frame["start"] = frame["timestamp"].astype("int64") // (WINDOWS_S[0] * SECOND_NS)
            parts.append(frame.groupby(["start", *KEYS], sort=False)[list(RESOURCES)].sum())
    counts = []
    with spent:
        whole = pd.concat(parts).reset_index()
        for window_s in WINDOWS_S:
            longer = whole.assign(start=whole["start"] // (window_s // WINDOWS_S[0]))
            counts.append(len(longer.groupby(["start", *KEYS], sort=False)[list(RESOURCES)].sum()))
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def river_statistics(directory: Path, limit: int) -> dict[str, Any]:
    """Polars' windows and River's mean, variance and quantiles of every series, an object a series."""
    from river import stats

    from features.windows import aggregate

    known: dict[tuple[str, ...], tuple[Any, ...]] = {}
    spent, events = Spent(), 0
    for rows in itertools.islice(steps(directory), limit):
        events += sum(batch.num_rows for batch in rows)
        with spent:
            base = aggregate(_summed(rows), WINDOWS_S[0] * SECOND_NS)
            for *key, value in base.select(*KEYS, pl.col("cpu_cycles").cast(pl.Float64)).iter_rows():
                found = known.get(tuple(key))
                if found is None:
                    quantiles = (stats.Quantile(level) for level in (0.1, 0.5, 0.9))
                    found = known[tuple(key)] = (stats.Mean(), stats.Var(), *quantiles)
                for one in found:
                    one.update(value)
    return {"events": events, "cpu_s": spent.cpu_s, "series": len(known)}


def _summed(rows: list[pa.RecordBatch]) -> pl.DataFrame:
    """The columns that windows are made of; without the producer's, nothing looks for events that were taken back."""
    return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(rows).select(["timestamp", *KEYS, *RESOURCES])))
