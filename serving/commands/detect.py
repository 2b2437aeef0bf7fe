"""`metercast detect`: online anomaly scores of a table of series, in one pass that never looks ahead."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track

from features.usage_files import UsageFileError, read_table
from models.detectors.alerting import open_alerts
from models.detectors.registry import DETECTORS
from models.detectors.stream import score_stream


def main(argv: list[str]) -> int:
    """Run the command; returns 0, or 3 when alerts were opened and --fail-on-alert asks for it."""
    parser = argparse.ArgumentParser(prog="metercast detect", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="series, timestamp, value: Parquet, CSV or JSON")
    parser.add_argument("--out", type=Path, required=True, help="writes series, timestamp, score, alert (Parquet)")
    parser.add_argument("--detector", default="multi-view", choices=sorted(DETECTORS), help="default: %(default)s")
    parser.add_argument("--fail-on-alert", action="store_true", help="exit code 3 when an alert was opened")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    try:
        frame = _read(args.data)
        args.out.parent.mkdir(parents=True, exist_ok=True)
    except (UsageFileError, OSError) as error:
        print(f"metercast detect: {error}", file=sys.stderr)
        return 2
    started, cpu_started = time.perf_counter(), time.process_time()
    console = Console(stderr=True)
    groups = list(frame.group_by(["series"], maintain_order=True))
    parts = []
    for _, rows in track(groups, "Scoring", console=console, disable=not console.is_terminal):
        stamps = rows["timestamp"].dt.epoch("us").to_numpy() / 1e6
        score = score_stream(DETECTORS[args.detector], rows["value"].to_numpy().astype(np.float64), stamps)
        alert = open_alerts(score, stamps)
        parts.append(rows.select("series", "timestamp", "row").with_columns(score=score, alert=alert))
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    scores = pl.concat(parts).sort("row").drop("row")
    scores.write_parquet(args.out)
    alerts = int((scores["alert"] >= 1).sum())
    rate = frame.height / max(spent_s, 1e-9)
    if args.json:
        figures = {"rows": frame.height, "series": len(groups), "alerts": alerts, "rows_per_s": round(rate)}
        print(json.dumps(figures | {"rows_per_cpu_s": round(frame.height / max(cpu_s, 1e-9))}))
    else:
        print(f"{frame.height} rows of {len(groups)} series at {rate:,.0f} rows/s: {alerts} alerts -> {args.out}")
    return 3 if alerts and args.fail_on_alert else 0


def _read(path: Path) -> pl.DataFrame:
    """The table with row numbers; raises UsageFileError when a column is missing or time is no time."""
    frame = read_table(path)
    missing = [name for name in ("series", "timestamp", "value") if name not in frame.columns]
    if missing:
        raise UsageFileError(f"{path} lacks {', '.join(missing)}; found {', '.join(frame.columns)}")
    if not frame.schema["timestamp"].is_temporal():
        if not frame.schema["timestamp"].is_numeric():
            raise UsageFileError(f"{path}: timestamps are {frame.schema['timestamp']}; use ISO 8601 or Unix seconds")
        frame = frame.with_columns((pl.col("timestamp").cast(pl.Float64) * 1e6).cast(pl.Int64).cast(pl.Datetime("us")))
    return frame.with_columns(pl.col("series").cast(pl.String), pl.col("value").cast(pl.Float64)).with_row_index("row")
