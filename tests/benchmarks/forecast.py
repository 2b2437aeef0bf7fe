"""Backtests of every model on the tasks beside the project, scored by the scorer beside them."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print one JSON object a line; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="repeatable (default: all registered)")
    parser.add_argument("--task", action="append", help="A, B or C; repeatable (default: all)")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "forecast"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    from models.forecasters.registry import FORECASTERS

    for task in args.task or ["A", "B", "C"]:
        for model in args.model or list(FORECASTERS):
            with tempfile.TemporaryDirectory() as out:
                data = str(bench / f"{task}.parquet")
                command = [sys.executable, "-m", "metercast.command", "backtest", "--task", data, "--model", model]
                done = subprocess.run([*command, "--out", out, "--json"], capture_output=True, text=True, check=True)
                row = json.loads(done.stdout)["models"][0]
                files = [str(Path(out) / model / name) for name in ("forecasts.parquet", "totals.parquet")]
                score = [sys.executable, str(bench / "score.py"), data, *files]
                figures = json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout)
                times = {key: row[key] for key in ("train_s", "forecast_s")}
                print(json.dumps({"task": task, "model": model, **times, **figures}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
