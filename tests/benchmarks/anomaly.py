"""Scores of the detector on the data beside the project, judged by the scorer beside them, beside simpler ways."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from models.detectors.alerting import open_alerts

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ("absolute-deviation", "half-space-trees", "gaussian", "random", "silence")


def main() -> int:
    """Print a table, or with --json one object a line; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", nargs="+", default=["multi-view", *BASELINES])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "anomaly"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    if not args.json:
        print(f"{'':20}NAB, 5-fold threshold      cloud_monitoring             rows/s of CPU")
        print(f"{'':20}{'standard':>9}{'low FP':>8}{'low FN':>8}{'recall@5':>11}{'AUC-PR':>9}{'':9}")
    with tempfile.TemporaryDirectory() as directory:
        for name in args.detector:
            nab, rate = judged(name, bench, "nab", ["nab"], Path(directory))
            cloud, _ = judged(
                name, bench, "cloud_monitoring", ["events", str(bench / "cloud_monitoring.parquet")], Path(directory)
            )
            show(name, nab, cloud, rate, args.json)
    return 0


def judged(name: str, bench: Path, data: str, mode: list[str], directory: Path) -> tuple[dict, int | None]:
    """What the scorer says of one way on one data set, and the rows a CPU-second where a detector was run."""
    path, out = bench / f"{data}.parquet", directory / f"{data}.parquet"
    rate = None
    if name in ("random", "silence"):
        chance(path, out, is_silent=name == "silence")
    else:
        command = [sys.executable, "-m", "metercast.command", "detect", "--data", str(path), "--out", str(out)]
        done = subprocess.run(
            [*command, "--detector", name, "--json"], capture_output=True, text=True, check=True, cwd=ROOT
        )
        rate = json.loads(done.stdout)["rows_per_cpu_s"]
    score = [sys.executable, str(bench / "score.py"), *mode, str(out)]
    return json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout), rate


def chance(path: Path, out: Path, is_silent: bool) -> None:
    """Scores drawn at random, with the quiet period; or none at all."""
    random = np.random.default_rng(0)
    data = pl.read_parquet(path)
    parts = []
    for _, rows in data.group_by("series", maintain_order=True):
        score = np.zeros(rows.height) if is_silent else random.random(rows.height)
        alert = open_alerts(score, rows["timestamp"].dt.epoch("us").to_numpy() / 1e6, bar=0.99)
        parts.append(rows.select("series", "timestamp").with_columns(score=score, alert=alert))
    pl.concat(parts).write_parquet(out)


def show(name: str, nab: dict, cloud: dict, rate: int | None, is_json: bool) -> None:
    """One line."""
    if is_json:
        print(json.dumps({"detector": name, "nab": nab, "cloud_monitoring": cloud, "rows_per_cpu_s": rate}), flush=True)
        return
    folds = [nab[profile]["folds"] for profile in ("standard", "low_false_positives", "low_false_negatives")]
    figures = "".join(f"{figure:{width}.1f}" for figure, width in zip(folds, (9, 8, 8), strict=True))
    speed = f"{rate:16,}" if rate else f"{'-':>16}"
    print(f"{name:20}{figures}{cloud['recall@5']:11.3f}{cloud['AUC_PR']:9.3f}{speed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
