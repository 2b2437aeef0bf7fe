"""What pages say where prices change within the period they are about: which version, and when."""

from __future__ import annotations

import time
from typing import Any

from serving.api.dependencies import iso
from serving.pricing.versioned_plan import VersionedPlan


def price_changes(plan: VersionedPlan) -> list[dict[str, Any]]:
    """Every version but the first of a period: its number, from when on it holds, and whether that has come."""
    now_ns = time.time_ns()
    return [
        {"version": one.plan.version, "from": iso(one.part.start_ns), "begun": one.part.start_ns <= now_ns}
        for one in plan.slices[1:]
    ]
