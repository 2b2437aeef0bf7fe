"""When a budget or a tier is passed: the chance, and the date, from values along sample paths."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.estimating.futures import Checkpoint, Futures
from serving.pricing.charges.tier import Tier
from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Charge
from serving.pricing.versioned_plan import VersionedPlan

Array = NDArray[np.float64]


def passing(moments_ns: Sequence[int], values: Array, bound: float) -> dict[str, Any] | None:
    """Dates by which 10, 50 and 90 % of the paths that pass a bound have passed it; None where none does.

    ``values`` (moments, paths) do not fall; between two moments a path is taken to rise evenly.
    """
    above = values > bound
    passed = above.any(axis=0)
    if not passed.any():
        return None
    first = above.argmax(axis=0)[passed]
    paths = np.flatnonzero(passed)
    before = np.maximum(first - 1, 0)
    low, high = values[before, paths], values[first, paths]
    share = np.where(high > low, (bound - low) / np.where(high > low, high - low, 1.0), 0.0).clip(0.0, 1.0)
    times = np.asarray(moments_ns, np.float64)
    at = np.where(first > 0, times[before] + share * (times[first] - times[before]), times[0])
    dates = np.quantile(at, (0.1, 0.5, 0.9))
    return {f"p{level}": _iso(date) for level, date in zip((10, 50, 90), dates.tolist(), strict=True)}


def next_tiers(plan: VersionedPlan, futures: Futures) -> list[dict[str, Any]]:
    """For every charge with tiers: the quantity so far, the next bound, and the chance and date of passing it.

    Tiers start anew with a version: those of the one in force are told, and what is used while it is.
    """
    rows = []
    place = plan.place(futures.data_until_ns)
    for charge in plan.slices[place].plan.charges:
        tiers: Sequence[Tier] = getattr(charge.model, "tiers", ())
        if not tiers or charge.meter is None or charge.quantity_steps or not charge.meter.aggregation.additive:
            continue
        weights = _weights(charge, futures.columns)

        def quantities(point: Checkpoint, weights: Array = weights) -> Array:
            used: Array = point.by_version(plan)[place] @ weights
            return used if len(used) > 1 else np.repeat(used, len(point.usage))

        now = float(quantities(futures.now)[0])
        bound = next((float(tier.up_to) for tier in tiers if tier.up_to is not None and now <= float(tier.up_to)), None)
        if bound is None:
            continue
        rows.append(
            {
                "charge": charge.id,
                "quantity_so_far": round(now, 6),
                "next_bound": bound,
                "probability": float((quantities(futures.end) > bound).mean()),
                "passed": passing(*along(futures, quantities), bound),
            }
        )
    return rows


def along(futures: Futures, value: Any) -> tuple[list[int], Array]:
    """Values of all checkpoints from now to the end on the paths kept on the way: moments, (moments, paths)."""
    points: list[Checkpoint] = [*futures.way, futures.end]
    count = min(len(point.usage) for point in points)
    now = np.asarray(value(futures.now), np.float64)
    rows = [np.repeat(now[:1], count), *(np.asarray(value(point), np.float64)[:count] for point in points)]
    return [futures.now.at_ns, *(point.at_ns for point in points)], np.maximum.accumulate(np.stack(rows), axis=0)


def _weights(charge: Charge, columns: Sequence[UsageColumn]) -> Array:
    meter = charge.meter
    assert meter is not None
    return np.array(
        [
            float(meter.value.coefficients.get(column.field, 0))
            if meter.takes(column.operation_id, column.micro_operation_type, column.meter, column.dimensions)
            else 0.0
            for column in columns
        ]
    )


def _iso(time_ns: float) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
