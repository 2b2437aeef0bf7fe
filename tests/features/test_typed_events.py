"""The quick decoder gives what the careful one gives, or steps aside."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from metercast.event import MICRO_OPERATION_TYPES

from features.schema import events_from_json
from features.typed_events import batch_from_json, batch_from_list
from tests.features.events import NOW_S, event

_odd = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**64), st.floats(allow_nan=False), st.text(max_size=3), st.just("a|b")
)
_names = st.text(min_size=1, max_size=8)
_events = st.fixed_dictionaries(
    {
        "timestamp": st.one_of(st.floats(NOW_S - 4e6, NOW_S + 600), st.integers(int(NOW_S) - 100, int(NOW_S)), _odd),
        "operationID": st.one_of(_names, _odd),
        "microOperationType": st.one_of(st.sampled_from(MICRO_OPERATION_TYPES), _odd),
        "userID": st.one_of(_names, _odd),
    },
    optional={
        "resourceUsage": st.fixed_dictionaries(
            {}, optional={"cpuCycles": st.one_of(st.integers(0, 2**63 - 1), _odd), "executionTimeMs": _odd, "x": _odd}
        ),
        "executionID": _odd,
        "units": _odd,
        "meter": _odd,
        "source": _odd,
        "other": _odd,
    },
)


@settings(max_examples=300)
@given(st.lists(_events, max_size=4))
def test_quick_and_careful_agree(events: list[dict[str, Any]]) -> None:
    """A body that the quick way takes has no bad row, and the same columns as the careful way gives."""
    document = {"producer": "p", "epoch": 1, "sequence": 2, "events": events}
    quick = batch_from_json(json.dumps(document).encode(), NOW_S)
    if quick is None:
        return
    rows, rejected = events_from_json(msgspec.json.decode(json.dumps(events)), "p", 1, 2, NOW_S)
    assert rejected == []
    assert quick.rows.equals(rows)
    assert (quick.producer, quick.epoch, quick.sequence) == ("p", 1, 2)


def test_plain_events_go_the_quick_way() -> None:
    """What the profiler sends is not left to the slow way, as a batch or as a list."""
    events = [event(-1.5, cpuCycles=3, executionTimeMs=0.25, meter="executions", units=1.0, executionID=2)] * 3
    document = {"producer": "p", "epoch": 1, "sequence": 2, "events": events}
    careful, _ = events_from_json(events, "p", 1, 2, NOW_S)
    batch = batch_from_json(json.dumps(document).encode(), NOW_S)
    listed = batch_from_list(json.dumps(events).encode(), ("p", 1, 2), NOW_S)
    assert batch is not None
    assert listed is not None
    assert batch.rows.equals(careful)
    assert listed.rows.equals(careful)


def test_a_bad_row_is_left_to_the_careful_way() -> None:
    """One unknown type, barred name or far time makes the quick way step aside for the whole body."""
    for change in ({"microOperationType": "CPU"}, {"userID": "a|b"}, {"timestamp": NOW_S + 9e5}, {"units": -1.0}):
        assert batch_from_list(json.dumps([event(), event() | change]).encode(), ("p", 1, 2), NOW_S) is None


@settings(max_examples=300)
@given(st.integers(0, 10**18 - 1), st.integers(0, 18))
def test_numbers_are_read_as_python_reads_them(digits: int, decimals: int) -> None:
    """Decimals of up to 18 digits become the nearest float, half to even, to the last bit."""
    text = f"{digits:0{decimals + 1}d}"
    text = f"{text[: len(text) - decimals]}.{text[len(text) - decimals :]}" if decimals else text
    body = json.dumps([event(executionTimeMs=0.125)]).replace("0.125", text)
    found = batch_from_list(body.encode(), ("p", 1, 2), NOW_S)
    assert found is not None
    assert found.rows["execution_time_ms"].to_pylist() == [float(text)]
