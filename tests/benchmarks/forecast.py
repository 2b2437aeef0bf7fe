"""Backtests on the tasks beside the project, scored by the scorer beside them: this project's models and libraries'.

Every model is trained on what lies before a task's first origin, networks with several seeds; times are of this
machine. AutoETS and LightGBM run where the extra `challengers` is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("seasonal-naive", "markov", "gaussian-process", "lstm", "ensemble")
LIBRARIES = ("auto-ets", "lightgbm")
SEEDED = ("lstm", "ensemble")


def main() -> int:
    """Print one JSON object a line, and the mean over seeds; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="repeatable (default: all, and libraries' where installed)")
    parser.add_argument("--task", action="append", help="A, B or C; repeatable (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every network (default: 3)")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "forecast"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    from models.forecasters.registry import FORECASTERS

    models = args.model or [*MODELS, *(name for name in LIBRARIES if name in FORECASTERS)]
    for task in args.task or ["A", "B", "C"]:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(args.seeds):
            ours = [name for name in models if seed == 0 or name in SEEDED]
            for name, row in _backtests(bench, task, ours, seed):
                rows.setdefault(name, []).append(row)
                print(json.dumps({"task": task, "model": name, "seed": seed, **row}), flush=True)
        for name, each in rows.items():
            if len(each) > 1:
                print(json.dumps({"task": task, "model": name, "mean of seeds": len(each), **_mean(each)}), flush=True)
    return 0


def _backtests(bench: Path, task: str, names: list[str], seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Models of the registry by `metercast backtest`; networks that several share are trained once."""
    data = bench / f"{task}.parquet"
    with tempfile.TemporaryDirectory() as out:
        asked = [word for name in names for word in ("--model", name)]
        command = [sys.executable, "-m", "metercast.command", "backtest", "--task", str(data), *asked]
        command += ["--seed", str(seed), "--workers", "1", "--out", out, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for row in json.loads(done.stdout)["models"]:
            yield row["model"], _times(data, row["train_s"], row["forecast_s"]) | _scored(data, Path(out), row["model"])


def _times(data: Path, train_s: float, forecast_s: float) -> dict[str, float]:
    """Seconds of training, and of one forecast of 1,000 series."""
    import polars as pl

    series = pl.scan_parquet(data).select(pl.col("series").n_unique()).collect().item()
    origins = len(json.loads(data.with_suffix(".json").read_text())["origins"])
    return {"train_s": train_s, "forecast_s_per_1000_series": round(1_000 * forecast_s / series / origins, 2)}


def _scored(data: Path, out: Path, model: str) -> dict[str, float]:
    """What the scorer beside the data says of a model's files."""
    files = [str(out / model / name) for name in ("forecasts.parquet", "totals.parquet")]
    score = [sys.executable, str(data.with_name("score.py")), str(data), *files]
    figures: dict[str, float] = json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout)
    return figures


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(sum(row[key] for row in rows) / len(rows), 4) for key in rows[0]}


if __name__ == "__main__":
    sys.exit(main())
