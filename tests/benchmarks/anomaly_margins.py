"""How much the figures of `anomaly.py` depend on chance: other foldings of NAB's files, and series drawn anew.

The scorer beside the data folds NAB's files in one way and counts every series once. Here the files are folded in many
random ways, and the series of cloud_monitoring are drawn with replacement, with the scorer's own functions.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FOLDS, BUDGET = 5, 5


def scorer(bench: Path) -> ModuleType:
    """The module beside the data."""
    spec = importlib.util.spec_from_file_location("anomaly_score", bench / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def foldings(score: ModuleType, bench: Path, out: Path, draws: int) -> dict[str, np.ndarray]:
    """Results of NAB's profiles under random foldings: the threshold of four fifths of the files for the others."""
    windows = json.loads((bench / "nab_windows.json").read_text())
    alerts = {name: alert for name, _, _, alert in score.paired(bench / "nab.parquet", out)}
    names, random, found = sorted(windows), np.random.default_rng(0), {}
    folds = [random.permutation(len(names)) % FOLDS for _ in range(draws)]
    for profile, weights in score.PROFILES.items():
        terms = [score.nab_terms(alerts[name], windows[name], weights) for name in names]
        count, missed = sum(map(len, windows.values())), weights[2]
        raws = [sum(_fold(score, terms, fold == part) for part in range(FOLDS)) for fold in folds]
        found[profile] = 100 * (np.array(raws) + missed * count) / ((weights[0] + missed) * count)
    return found


def _fold(score: ModuleType, terms: list, held: np.ndarray) -> float:
    """The raw total of the files held out, at the best threshold of the others."""
    levels, totals = score.nab_curve([term for term, is_held in zip(terms, held, strict=True) if not is_held])
    threshold = levels[np.argmax(totals)]
    levels, totals = score.nab_curve([term for term, is_held in zip(terms, held, strict=True) if is_held])
    return float(totals[max(np.searchsorted(-levels, -threshold, side="right") - 1, 0)])


def resampled(score: ModuleType, bench: Path, out: Path, draws: int) -> np.ndarray:
    """Recall at five false alert rows in 10,000 over series drawn with replacement, each draw one number."""
    parts = []
    for _, labels, _, alerts in score.paired(bench / "cloud_monitoring.parquet", out):
        start = max(150, int(0.15 * len(labels)))
        edges = np.flatnonzero(np.diff(np.r_[0, labels, 0]))
        near, best = np.zeros(len(labels), np.bool_), []
        for left, end in zip(edges[::2], edges[1::2], strict=True):
            near[left : end + 10] = True
            if left >= start:
                best.append(alerts[left : end + 10].max())
        parts.append((np.array(best), alerts[start:][~near[start:]], len(labels) - start))
    random, recalls = np.random.default_rng(0), []
    for _ in range(draws):
        drawn = [parts[at] for at in random.integers(0, len(parts), len(parts))]
        false = np.sort(np.concatenate([alerts for _, alerts, _ in drawn]))[::-1]
        allowed = int(BUDGET * sum(rows for *_, rows in drawn) / 10_000)
        bar = false[allowed] if allowed < len(false) else 0.0
        recalls.append(float((np.concatenate([best for best, *_ in drawn]) > max(bar, 0.0)).mean()))
    return np.array(recalls)


def main() -> int:
    """Print mean and spread of the four; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="multi-view")
    parser.add_argument("--draws", type=int, default=60)
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "anomaly"
    if not bench.is_dir():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    score = scorer(bench)
    with tempfile.TemporaryDirectory() as directory:
        outs = {}
        for name in ("nab", "cloud_monitoring"):
            outs[name] = Path(directory) / f"{name}.parquet"
            command = [sys.executable, "-m", "metercast.command", "detect", "--data", str(bench / f"{name}.parquet")]
            command += ["--out", str(outs[name]), "--detector", args.detector, "--json"]
            subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        found = foldings(score, bench, outs["nab"], args.draws)
        found |= {f"recall@{BUDGET}": resampled(score, bench, outs["cloud_monitoring"], args.draws)}
    for name, values in found.items():
        low, high = np.quantile(values, [0.1, 0.9])
        print(f"{name:24} mean {values.mean():7.3f}   80 % of the draws from {low:.3f} to {high:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
