"""Events and batches for the tests of features and of what stands on them."""

from __future__ import annotations

import time
from typing import Any

from features.contracts import Batch
from features.schema import events_from_json

NOW_S = float(int(time.time()))


def event(at_s: float = 0.0, user: str = "ada", operation: str = "checkout", **more: Any) -> dict[str, Any]:
    """An event ``at_s`` seconds from the fixed now, in the wire form."""
    usage = {
        name: more.pop(name) for name in ("cpuCycles", "diskBytes", "networkBytes", "executionTimeMs") if name in more
    }
    return {
        "timestamp": NOW_S + at_s,
        "userID": user,
        "operationID": operation,
        "microOperationType": more.pop("kind", "CPU_INSTRUCTION"),
        "resourceUsage": usage,
        **more,
    }


def batch(events: list[dict[str, Any]], sequence: int = 1, producer: str = "shop-1", epoch: int = 1) -> Batch:
    """A batch of valid events."""
    rows, rejected = events_from_json(events, producer, epoch, sequence, max(NOW_S, time.time()))
    assert rejected == []
    return Batch(producer, epoch, sequence, rows)
