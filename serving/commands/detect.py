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
from rich.progress import Progress

from features.usage_files import UsageFileError
from models.detectors.alerting import open_alerts
from models.detectors.registry import DETECTORS
from models.detectors.stream import score_stream
from serving.commands.detection_plot import Drawn, page
from serving.commands.detection_table import read_series


def main(argv: list[str]) -> int:
    """Run the command; returns 0, 2 for misuse, or 3 when alerts were opened and --fail-on-alert asks for it."""
    parser = argparse.ArgumentParser(prog="metercast detect", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="timestamp and value, with series where there are several: Parquet or CSV",
    )
    parser.add_argument("--out", type=Path, required=True, help="writes series, timestamp, score, alert (Parquet)")
    parser.add_argument("--detector", default="multi-view", choices=sorted(DETECTORS), help="default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="PAGE.html", help="draws value, expected band and alerts")
    parser.add_argument("--fail-on-alert", action="store_true", help="exit code 3 when an alert was opened")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    try:
        frame = read_series(args.data)
        for path in (args.out, args.plot):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
    except (UsageFileError, OSError) as error:
        print(f"metercast detect: {error}", file=sys.stderr)
        return 2
    started, cpu_started = time.perf_counter(), time.process_time()
    scores, drawn = _scored(frame, args.detector, with_plot=args.plot is not None)
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    scores.write_parquet(args.out)
    if args.plot is not None:
        args.plot.write_text(page(args.data.name, drawn), encoding="utf-8")
    alerts, series = int((scores["alert"] >= 1).sum()), scores["series"].n_unique()
    rate = frame.height / max(spent_s, 1e-9)
    if args.json:
        figures = {"rows": frame.height, "series": series, "alerts": alerts, "rows_per_s": round(rate)}
        print(json.dumps(figures | {"rows_per_cpu_s": round(frame.height / max(cpu_s, 1e-9))}))
    else:
        print(f"{frame.height} rows of {series} series at {rate:,.0f} rows/s: {alerts} alerts -> {args.out}")
        if args.plot is not None:
            print(f"drawn -> {args.plot}")
    return 3 if alerts and args.fail_on_alert else 0


def _scored(frame: pl.DataFrame, detector: str, with_plot: bool) -> tuple[pl.DataFrame, list[Drawn]]:
    """Scores and alerts in the order of the rows, and what is needed to draw them."""
    console, parts, drawn = Console(stderr=True), [], []
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("Scoring", total=frame.height)
        for (name,), rows in frame.group_by(["series"], maintain_order=True):
            # One pass in time order, whatever the order of the rows.
            ordered = rows if rows["timestamp"].is_sorted() else rows.sort("timestamp", maintain_order=True)
            stamps = ordered["timestamp"].dt.epoch("us").to_numpy() / 1e6
            values = ordered["value"].fill_null(np.nan).to_numpy()
            band = np.zeros((2, len(values))) if with_plot else None
            score = score_stream(DETECTORS[detector], values, stamps, band, lambda done: progress.advance(task, done))
            alert = open_alerts(score, stamps)
            parts.append(ordered.select("series", "timestamp", "row").with_columns(score=score, alert=alert))
            if band is not None:
                drawn.append(Drawn(str(name), stamps, values, band, alert))
    return pl.concat(parts).sort("row").drop("row"), drawn
