"""Every incoming row is checked, and a bad one is told apart without losing its neighbours."""

from __future__ import annotations

import math

import pytest

from features.schema import ARROW_SCHEMA, events_from_json
from tests.features.events import NOW_S, event


def test_a_good_event_keeps_every_field() -> None:
    """What a producer sent is what the log holds."""
    sent = event(-1.0, cpuCycles=7, networkBytes=3, executionTimeMs=1.5, executionID=9, parentExecutionID=8, units=2.0)
    rows, rejected = events_from_json([sent], "p", 4, 5, NOW_S)
    row = rows.to_pylist()[0]
    assert rejected == []
    assert rows.schema == ARROW_SCHEMA
    assert (row["cpu_cycles"], row["network_bytes"], row["execution_time_ms"], row["units"]) == (7, 3, 1.5, 2.0)
    assert (row["execution_id"], row["parent_execution_id"]) == (9, 8)
    assert (row["producer"], row["epoch"], row["sequence"]) == ("p", 4, 5)
    assert row["timestamp"].timestamp() == NOW_S - 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"microOperationType": "CPU"}, "unknown"),
        ({"resourceUsage": {"diskBytes": -1}}, "2^63-1"),
        ({"resourceUsage": {"executionTimeMs": math.inf}}, "finite"),
        ({"resourceUsage": {"executionTimeMs": -0.5}}, ">= 0"),
        ({"resourceUsage": {"cycles": 1}}, "unknown members"),
        ({"resourceUsage": {"cpuCycles": 2**63}}, "2^63-1"),
        ({"timestamp": NOW_S + 3600}, "ahead"),
        ({"timestamp": NOW_S - 86_400 * 40}, "older"),
        ({"timestamp": "yesterday"}, "finite number"),
        ({"userID": ""}, "1 to 512"),
        ({"operationID": "a|b"}, "'|'"),
        ({"userID": None}, "1 to 512"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(change: dict[str, object], reason: str) -> None:
    """The reason names what is wrong; the rows around it are taken."""
    rows, rejected = events_from_json([event(), event() | change, event()], "p", 1, 1, NOW_S)
    assert rows.num_rows == 2
    assert [one.row for one in rejected] == [1]
    assert reason in rejected[0].reason
