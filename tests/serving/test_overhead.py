"""What metering costs is told from the profilers' own records."""

from __future__ import annotations

import time
from typing import Any

from fastapi.testclient import TestClient

from tests.serving.conftest import some_usage


def test_share_and_drops_come_from_the_profilers_own_records(client: TestClient, feed: Any) -> None:
    """A tenth of the CPU for metering shows as such, beside what lost its detail; customers' pages leave it out."""
    now_s = time.time() - 5
    usage = some_usage(("acme",), 20)
    cycles = sum(event["resourceUsage"].get("cpuCycles", 0) for event in usage)
    own = {
        "timestamp": now_s,
        "operationID": "metercast",
        "microOperationType": "PROFILER_SELF",
        "userID": "acme",
        "meter": "dropped_events",
        "units": 7,
        "resourceUsage": {"cpuCycles": cycles // 9, "executionTimeMs": 300.0},
    }
    feed(client, [*usage, own])
    page = client.get("/live", headers={"Accept": "application/json"}).json()
    assert page["engine"]["profiler_share"] == "10.0 %"
    assert page["engine"]["profiler_of_core"] == "0.50 %"
    assert page["engine"]["dropped_events"] == 7
