"""Backtests on the tasks beside the project, scored by the scorer beside them: this project's models and libraries'.

Every model is trained on what lies before a task's first origin, networks with several seeds; times are of this
machine. What was measured is kept, so a run that was stopped goes on where it stood, and `--task`, `--model` and
`--seeds` measure a part; what the code of models and training had a hand in is measured anew once that has changed.
AutoETS and LightGBM run where the extra `challengers` is installed, neuralforecast's LSTM and NHITS where the extra
`neural` is, within the limits that `neural_libraries.py` sets. A model that takes longer than `--limit-s` on a task is
ended, and its row says so; what it had done is kept where the model is one of the registry.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("seasonal-naive", "markov", "gaussian-process", "lstm", "ensemble")
LIBRARIES = ("auto-ets", "lightgbm")
NETWORKS = ("neuralforecast-lstm", "neuralforecast-nhits")
SEEDED = ("lstm", "ensemble", *NETWORKS)
TASKS = ("C", "B", "A")
"""The shortest first."""


def main() -> int:
    """Print one JSON object a line, and the mean over seeds; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable (default: all, and libraries' where installed)")
    parser.add_argument("--task", action="append", help=f"one of {', '.join(TASKS)}; repeatable (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every network (default: 3)")
    parser.add_argument(
        "--limit-s", type=float, default=3600, help="seconds for a model, task and seed (default: 3600)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "metercast-data" / "bench-forecast", help="what is kept")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "forecast"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    for task in args.task or TASKS:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(args.seeds):
            for name in [name for name in args.model or _installed() if seed == 0 or name in SEEDED]:
                out = args.out / task / str(seed)
                row = _measured(bench / f"{task}.parquet", name, seed, out, args.fresh, args.limit_s)
                if row is None:
                    row = {"did_not_end_in_s": args.limit_s}
                else:
                    rows.setdefault(name, []).append(row)
                print(json.dumps({"task": task, "model": name, "seed": seed, **row}), flush=True)
        for name, each in rows.items():
            if len(each) > 1:
                print(json.dumps({"task": task, "model": name, "mean of seeds": len(each), **_mean(each)}), flush=True)
    return 0


def _installed() -> list[str]:
    """This project's models and those of the libraries that are there; says on the error stream why others are not."""
    from models.forecasters.registry import FORECASTERS, why_unknown

    names = list(MODELS)
    for name in LIBRARIES:
        if name in FORECASTERS:
            names.append(name)
        else:
            print(f"skipped: {why_unknown(name)}", file=sys.stderr)
    if find_spec("neuralforecast") is None:
        print("skipped: neuralforecast is not installed: pip install 'metercast-platform[neural]'", file=sys.stderr)
    else:
        names += NETWORKS
    return names


def _measured(data: Path, name: str, seed: int, out: Path, fresh: bool, limit_s: float) -> dict[str, float] | None:
    """Figures and times of a model on a task, as they are kept or else measured now; None where it did not end."""
    kept = out / name / "figures.json"
    code = _code(name)
    if kept.is_file() and not fresh:
        document = json.loads(kept.read_text())
        if document["code"] == code:
            return dict(document["figures"])
    command = _library_network(data, name) if name in NETWORKS else _backtest(data, name, fresh)
    command += ["--seed", str(seed), "--out", str(out)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return None
    told = json.loads(done.stdout if name not in NETWORKS else done.stdout.splitlines()[-1])
    row = told if name in NETWORKS else told["models"][0]
    figures = _times(data, row["train_s"], row["forecast_s"]) | _scored(data, out / name)
    if "steps" in row:
        figures["steps"] = row["steps"]
    kept.write_text(json.dumps({"code": code, "figures": figures}))
    return figures


def _code(name: str) -> str:
    """A short name of the code that figures of a model come from; a library's networks need little of this project."""
    rooms = [path for room in ("models", "training") for path in (ROOT / room).rglob("*.py")]
    of_networks = [Path(__file__).with_name("neural_libraries.py"), ROOT / "training" / "tasks.py"]
    files = sorted(of_networks if name in NETWORKS else rooms)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _backtest(data: Path, name: str, fresh: bool) -> list[str]:
    """A model of the registry by `metercast backtest`, which goes on where an earlier run of it was stopped."""
    command = [sys.executable, "-m", "metercast.command", "backtest", "--task", str(data), "--model", name]
    return [*command, "--workers", "1", "--json", *(["--fresh"] if fresh else [])]


def _library_network(data: Path, name: str) -> list[str]:
    """A network of neuralforecast by `neural_libraries.py`."""
    script = Path(__file__).with_name("neural_libraries.py")
    return [sys.executable, str(script), "--task", str(data), "--model", name]


def _times(data: Path, train_s: float, forecast_s: float) -> dict[str, float]:
    """Seconds of training, and of one forecast of 1,000 series."""
    import polars as pl

    series = pl.scan_parquet(data).select(pl.col("series").n_unique()).collect().item()
    origins = len(json.loads(data.with_suffix(".json").read_text())["origins"])
    return {"train_s": round(train_s, 1), "forecast_s_per_1000_series": round(1_000 * forecast_s / series / origins, 2)}


def _scored(data: Path, out: Path) -> dict[str, float]:
    """What the scorer beside the data says of a model's files."""
    files = [str(out / name) for name in ("forecasts.parquet", "totals.parquet") if (out / name).is_file()]
    score = [sys.executable, str(data.with_name("score.py")), str(data), *files]
    figures: dict[str, float] = json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout)
    return figures


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(sum(row[key] for row in rows) / len(rows), 4) for key in rows[0]}


if __name__ == "__main__":
    sys.exit(main())
