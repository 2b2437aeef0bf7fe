"""Whatever bytes are sent under whatever content type: a batch or a reason, in little time and without growing."""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metercast.event import BATCH_MEDIA_TYPE, MICRO_OPERATION_TYPES

from features.schema import ARROW_SCHEMA
from serving.ingest.bodies import ARROW_MEDIA_TYPE, MEDIA_TYPES, NDJSON_MEDIA_TYPE, BodyError, Limits, parse, unpack
from serving.ingest.cloud_events import CLOUD_EVENT_MEDIA_TYPE, CLOUD_EVENTS_MEDIA_TYPE
from tests.features.events import NOW_S, batch, event

LIMITS = Limits(body_bytes=1 << 20, unpacked_bytes=4 << 20, rows=1_000)
_EVENTS = [event(-1.0, cpuCycles=row, meter="executions", units=1.0) for row in range(5)]
_CLOUD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "usage", "data": _EVENTS[0]}


def _arrow(compression: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    rows = batch([event(-1.0, cpuCycles=row, user=f"user{row % 3}") for row in range(50)]).rows
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


GOOD = {
    "own": (BATCH_MEDIA_TYPE, json.dumps({"producer": "p", "epoch": 1, "sequence": 1, "events": _EVENTS}).encode()),
    "list": ("application/json", json.dumps(_EVENTS).encode()),
    "lines": (NDJSON_MEDIA_TYPE, b"\n".join(json.dumps(one).encode() for one in _EVENTS)),
    "cloud event": (CLOUD_EVENT_MEDIA_TYPE, json.dumps(_CLOUD).encode()),
    "cloud events": (CLOUD_EVENTS_MEDIA_TYPE, json.dumps([_CLOUD]).encode()),
    "arrow": (ARROW_MEDIA_TYPE, _arrow(None)),
    "arrow zstd": (ARROW_MEDIA_TYPE, _arrow("zstd")),
    "arrow lz4": (ARROW_MEDIA_TYPE, _arrow("lz4")),
}
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(MICRO_OPERATION_TYPES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*_EVENTS[0], *_CLOUD]), inner, max_size=4)
    ),
    max_leaves=12,
)


def _take(body: bytes, media_type: str, encoding: str = "") -> None:
    """Parse a body; a batch must be whole, and anything but a reason is an error of ours."""
    started = time.process_time()
    with contextlib.suppress(BodyError):
        found, rejected = parse(unpack(body, encoding, LIMITS), media_type, LIMITS, NOW_S)
        found.rows.validate(full=True)
        assert found.rows.schema == ARROW_SCHEMA
        assert all(one.reason for one in rejected)
        json.dumps([one.reason for one in rejected]).encode()
    assert time.process_time() - started < 20


@settings(max_examples=150)
@given(
    name=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 400),
    encoding=st.sampled_from(["", "gzip", "zstd", "br"]),
    is_packed=st.booleans(),
)
def test_damaged_bodies(name: str, changes: list[tuple[int, int]], cut: int, encoding: str, is_packed: bool) -> None:
    """Bytes are turned and missing, before and after packing, and the encoding may be a lie."""
    media_type, good = GOOD[name]
    if is_packed and encoding in ("gzip", "zstd"):
        good = gzip.compress(good) if encoding == "gzip" else bytes(pa.compress(good, "zstd"))
    body = bytearray(good)
    for place, value in changes:
        body[place % len(body)] = value
    _take(bytes(body[: max(0, len(body) - cut)]), media_type, encoding)


@settings(max_examples=200)
@given(document=_values, media_type=st.sampled_from([one for one in MEDIA_TYPES if "json" in one]))
def test_any_json(document: object, media_type: str) -> None:
    """JSON of any shape, with the names of events and envelopes in wrong places."""
    _take(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_deep_and_wide_bodies(media_type: str) -> None:
    """Nesting without end, endless numbers and strings, empty bodies and lone surrogates are reasons, not crashes."""
    for body in (
        b"",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"9" * 500_000,
        b'["' + b"a" * 500_000 + b'"]',
        b'[{"timestamp": 1e999, "userID": "\\ud800"}]',
        json.dumps([_EVENTS[0] | {"userID": "\ud800"}]).encode(),
        b"\xff" * 1_000,
    ):
        _take(body, media_type)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bombs_are_refused_before_they_unpack(encoding: str) -> None:
    """A few kilobytes that become a gigabyte stop at the limit."""
    zeros = bytes(256 << 20)
    bomb = gzip.compress(zeros, 9) if encoding == "gzip" else bytes(pa.compress(zeros, "zstd"))
    before = pa.total_allocated_bytes()
    with pytest.raises(BodyError) as refused:
        unpack(bomb, encoding, LIMITS)
    assert refused.value.status == 413
    assert pa.total_allocated_bytes() - before < 16 << 20


def test_memory_stays_where_it_is() -> None:
    """Decoding the same bodies, good and damaged, again and again leaves nothing behind in Arrow's memory."""
    bodies = [(media_type, good[: len(good) - cut]) for media_type, good in GOOD.values() for cut in (0, 7)]
    for media_type, body in bodies:
        _take(body, media_type)
    before = pa.total_allocated_bytes()
    for _ in range(20):
        for media_type, body in bodies:
            _take(body, media_type)
    assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the kernel does not tell here what a process holds")
def test_the_process_does_not_grow() -> None:
    """Good and damaged bodies of every kind, again and again, leave nothing behind outside of Arrow's memory either."""
    bodies = [(media_type, good[: len(good) - cut]) for media_type, good in GOOD.values() for cut in (0, 7)]
    for _ in range(100):
        for media_type, body in bodies:
            _take(body, media_type)
    before = _resident_bytes()
    for _ in range(600):  # a batch that stays takes some 25 kB, so one kind of body that leaks takes 15 MB
        for media_type, body in bodies:
            _take(body, media_type)
    assert _resident_bytes() - before < 8 << 20


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
