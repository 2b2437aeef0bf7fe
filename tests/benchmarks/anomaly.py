"""Scores of a detector on the data beside the project, judged by the scorer beside them."""

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
    parser.add_argument("--detector", default="multi-view")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "anomaly"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        for name, mode in (("nab", ["nab"]), ("cloud_monitoring", ["events", str(bench / "cloud_monitoring.parquet")])):
            out = str(Path(directory) / f"{name}.parquet")
            command = [sys.executable, "-m", "metercast.command", "detect", "--data", str(bench / f"{name}.parquet")]
            options = ["--out", out, "--detector", args.detector, "--json"]
            done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
            score = [sys.executable, str(bench / "score.py"), *mode, out]
            figures = json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout)
            print(json.dumps({"data": name, **json.loads(done.stdout), **figures}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
