"""Estimates of the bill at 10, 25, 50 and 75 % of a week, in money, beside what others do, on task B.

Each of the 100 machines is a customer. Prices are set from usage before the first origin only: a micro-operation
tariff under which an ordinary week costs about 50, and a graduated plan whose bounds lie at the median and the ninth
decile of a week. The forecaster is fitted once, before the first origin; at each share of the period it sees what was
metered until then. Coverage is of P10 to P90, WQL the pinball loss over the bills, error the sum of absolute errors of
the median over the bills.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.panel import Panel
from serving.plans.plan_files import parse_plan
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
SHARES = (0.10, 0.25, 0.50, 0.75)
PATHS, SEED = 300, 11
Array = NDArray[np.float64]
FIELDS = {
    "cpu_mhz": ("CPU_INSTRUCTION", "cpu_cycles", "cpuCycles"),
    "mem_kb": ("MEMORY_READ", "memory_bytes", "memoryBytes"),
    "disk_write_kbps": ("DISK_WRITE", "disk_bytes", "diskBytes"),
    "net_out_kbps": ("NETWORK_SEND", "network_bytes", "networkBytes"),
}


def main() -> int:
    """Print one JSON object a line; 0 where there is nothing to score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ensemble", help="forecaster (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "forecast" / "B.parquet"
    if not bench.exists():
        print(f"skipped: no data in {bench}; set METERCAST_BENCH")
        return 0
    from training.fit import fit_forecaster
    from training.tasks import load_task

    task = load_task(bench)
    started = time.process_time()
    model = fit_forecaster(args.model, task.panel.until(task.cuts[0]), task.horizon)
    print(json.dumps({"model": args.model, "fit_cpu_s": round(time.process_time() - started, 1)}), flush=True)
    plans = _plans(task.panel, task.cuts[0], task.horizon)
    to_come = {}
    for share in SHARES:
        for cut in task.cuts:
            seen = cut + _elapsed(share, task.horizon)
            paths = model.paths(task.panel.until(seen), cut + task.horizon - seen, PATHS, args.seed)
            to_come[share, cut] = np.maximum(paths, 0.0).sum(axis=2)
    for name, plan in plans.items():
        for share in SHARES:
            rows: dict[str, list[Array]] = {}
            actual = []
            for cut in task.cuts:
                week = _Week(task.panel, plan, cut, task.horizon, share)
                actual.append(week.bills)
                rows.setdefault(f"metercast {args.model}", []).append(week.ours(to_come[share, cut]))
                for baseline, estimate in BASELINES.items():
                    rows.setdefault(baseline, []).append(estimate(week))
            for method, quantiles in rows.items():
                told = _score(np.stack(actual), np.stack(quantiles))
                print(json.dumps({"plan": name, "elapsed": share, "method": method} | told), flush=True)
    return 0


def _elapsed(share: float, horizon: int) -> int:
    return max(1, round(share * horizon))


class _Week:
    """One billing week of all customers under a plan, seen at a share of it; amounts by customer."""

    def __init__(self, panel: Panel, plan: Plan, cut: int, horizon: int, share: float) -> None:
        self.panel, self.plan, self.cut, self.horizon = panel, plan, cut, horizon
        self.elapsed = _elapsed(share, horizon)
        self.seen, self.left = cut + self.elapsed, horizon - self.elapsed
        self.tenants = sorted(set(panel.tenants))
        self.rows = [[i for i, name in enumerate(panel.tenants) if name == tenant] for tenant in self.tenants]
        self.bills = self.cost(cut, cut + horizon)

    def cost(self, start: int, end: int) -> Array:
        """The bill of every customer for windows of the past."""
        return self._priced(np.nansum(self.panel.values[:, start:end], axis=1)[None, :])[0]

    def hourly(self, start: int, end: int) -> Array:
        """Cumulative bills after every window, (windows, customers)."""
        sums = np.nancumsum(self.panel.values[:, start:end], axis=1)
        return self._priced(sums.T)

    def ours(self, to_come: Array) -> Array:
        """Quantiles of bills from usage to come (paths, series), of all customers last: (customers + 1, levels)."""
        so_far = np.nansum(self.panel.values[:, self.cut : self.seen], axis=1)
        bills = self._priced(so_far[None, :] + to_come)
        return np.quantile(np.column_stack([bills, bills.sum(axis=1)]), LEVELS, axis=0).T

    def _priced(self, totals: Array) -> Array:
        """Bills (rows, customers) of usage (rows, series)."""
        bills = []
        for rows in self.rows:
            columns = [UsageColumn("vm", *FIELDS[self.panel.resources[row]][:2]) for row in rows]
            costs = rate_paths(self.plan, columns, np.rint(totals[:, rows] * 1_000))
            bills.append([float(total) for total in costs.totals])
        return np.array(bills).T


def _plans(panel: Panel, until: int, horizon: int) -> dict[str, Plan]:
    """Both plans, from the weeks before the first origin."""
    week = np.nansum(panel.values[:, until - horizon : until], axis=1) * 1_000
    meters, tariff, graduated = [], [], []
    for resource, (micro, _, field) in FIELDS.items():
        mine = week[[i for i, name in enumerate(panel.resources) if name == resource]]
        price = 12.5 / max(1.0, float(mine.mean()))
        unit = f"{price:.15f}"
        meters.append(f"  {resource}: {{microOperationType: [{micro}], value: {field}}}")
        tariff.append(f'  - {{id: {resource}, meter: {resource}, model: per_unit, unit_price: "{unit}"}}')
        low, high = (round(float(np.quantile(mine, level))) for level in (0.5, 0.9))
        tiers = [(low, 1.6), (max(low + 1, high), 1.0), (None, 0.6)]
        listed = ", ".join(
            f'{{up_to: {"null" if bound is None else bound}, unit_price: "{price * times:.15f}"}}'
            for bound, times in tiers
        )
        graduated.append(f"  - {{id: {resource}, meter: {resource}, model: graduated, tiers: [{listed}]}}")
    fee = '  - {id: fee, model: flat, price: "5"}'
    return {
        name: parse_plan(
            "\n".join(
                [f"plan: {{id: {name}, version: 1, currency: USD}}", "meters:", *meters, "charges:", *charges, ""]
            )
        )
        for name, charges in (("tariff", tariff), ("graduated", [fee, *graduated]))
    }


def _points(values: Array) -> Array:
    """A point estimate as quantiles that are all the same, and the sum of all customers as one more."""
    whole = np.append(values, values.sum())
    return np.repeat(whole[:, None], len(LEVELS), axis=1)


def _run_rate(week: _Week) -> Array:
    return _points(week.cost(week.cut, week.seen) * week.horizon / week.elapsed)


def _last_period(week: _Week) -> Array:
    return _points(week.cost(week.cut - week.horizon, week.cut))


def _regression(week: _Week) -> Array:
    """Spend so far plus the line through hourly spend of the last two weeks, with its prediction interval."""
    spend = week.hourly(week.cut, week.seen)
    before = np.diff(week.hourly(week.cut - week.horizon, week.cut), axis=0, prepend=0.0)
    hours = np.concatenate([before, np.diff(spend, axis=0, prepend=0.0)])
    hours = np.column_stack([hours, hours.sum(axis=1)])
    at = np.arange(len(hours), dtype=float)
    design = np.column_stack([np.ones_like(at), at])
    beta, *_ = np.linalg.lstsq(design, hours, rcond=None)
    variance = ((hours - design @ beta) ** 2).sum(axis=0) / (len(hours) - 2)
    ahead = np.column_stack([np.ones(week.left), len(hours) + np.arange(week.left, dtype=float)])
    whole = ahead.sum(axis=0)
    spread = np.sqrt(variance * (week.left + whole @ np.linalg.inv(design.T @ design) @ whole))
    return _normal(_so_far(spend), whole @ beta, spread)


def _arima(week: _Week) -> Array:
    """Spend so far plus an ARIMA(24, 0, 0) of hourly spend, fitted by least squares, with its interval."""
    spend = week.hourly(week.cut, week.seen)
    start = max(0, week.cut - 3 * week.horizon)
    hours = np.diff(np.concatenate([week.hourly(start, week.cut), week.hourly(start, week.cut)[-1:] + spend]), axis=0)
    hours = np.column_stack([hours, hours.sum(axis=1)])
    middles, spreads = [], []
    for series in hours.T:
        middle, spread = _autoregression(series, 24, week.left)
        middles.append(middle)
        spreads.append(spread)
    return _normal(_so_far(spend), np.array(middles), np.array(spreads))


def _autoregression(series: Array, order: int, steps: int) -> tuple[float, float]:
    """Mean and standard deviation of the sum of the next steps under a fitted AR model."""
    lagged = np.stack([series[order - lag : len(series) - lag] for lag in range(1, order + 1)], axis=1)
    design = np.column_stack([np.ones(len(lagged)), lagged])
    target = series[order:]
    ridge = 1e-6 * np.eye(order + 1) * max(1e-12, float((design**2).mean()))
    beta = np.linalg.solve(design.T @ design + ridge, design.T @ target)
    sigma = float(np.std(target - design @ beta))
    past, total, weights = list(series[-order:]), 0.0, [1.0]
    limit = float(series.max())
    for _ in range(steps):
        value = float(np.clip(beta[0] + np.dot(beta[1:], past[::-1]), 0.0, limit))
        total += value
        past = [*past[1:], value]
    for step in range(1, steps):
        weights.append(sum(beta[1 + lag] * weights[step - 1 - lag] for lag in range(min(order, step))))
    sums = np.cumsum(np.clip(weights, -10, 10))
    return total, sigma * float(np.sqrt((sums**2).sum()))


def _so_far(spend: Array) -> Array:
    return np.append(spend[-1], spend[-1].sum())


def _normal(so_far: Array, middle: Array, spread: Array) -> Array:
    from scipy.special import ndtri

    return so_far[:, None] + np.maximum(middle[:, None] + spread[:, None] * ndtri(np.array(LEVELS))[None, :], 0.0)


BASELINES: dict[str, Callable[[_Week], Array]] = {
    "run rate": _run_rate,
    "last period again": _last_period,
    "linear regression": _regression,
    "ARIMA(24,0,0)": _arima,
}


def _score(bills: Array, quantiles: Array) -> dict[str, float]:
    """Bills (origins, customers), quantiles (origins, customers + 1, levels)."""
    users, middle = quantiles[:, :-1], len(LEVELS) // 2
    levels = np.array(LEVELS)
    gap = bills[..., None] - users
    pinball = 2 * np.maximum(levels * gap, (levels - 1) * gap).mean()
    whole = bills.sum(axis=1)
    billed = bills > 0
    inside = (bills >= users[..., 0] - 0.005) & (bills <= users[..., -1] + 0.005)
    total = quantiles[:, -1]
    return {
        "error": round(float(np.abs(bills - users[..., middle]).sum() / bills.sum()), 4),
        "median_ape": round(float(np.median((np.abs(bills - users[..., middle]) / bills)[billed])), 4),
        "wql": round(float(pinball / bills.mean()), 4),
        "coverage": round(float(inside.mean()), 3),
        "bias": round(float((users[..., middle] - bills).sum() / bills.sum()), 4),
        "total_error": round(float(np.abs(total[:, middle] - whole).sum() / whole.sum()), 4),
        "total_covered": round(float(((whole >= total[:, 0]) & (whole <= total[:, -1])).mean()), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
