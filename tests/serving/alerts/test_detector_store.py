"""Detectors are kept to the last bit, whatever the steps and restarts, and a person's can be taken out."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.database import Connection, connect
from features.windows import SCHEMA
from serving.alerts.detector_erasure import erase_user, gather
from serving.alerts.detector_store import BLOCK, DetectorStore
from serving.alerts.hook import DetectionHook
from serving.alerts.series_bank import SeriesBank
from serving.alerts.watch_list import Key
from tests.postgresql import Server
from tests.serving.alerts.closed_windows import Feed
from tests.serving.alerts.test_hook import price

MINUTE_NS = 60_000_000_000
USERS, WINDOWS = 40, 150


def usage() -> list[pl.DataFrame]:
    """Minutes of users of two operations, some of them away and some late comers, with a storm in between."""
    random = np.random.default_rng(4)
    frames = []
    for minute in range(WINDOWS):
        rows: list[dict[str, Any]] = []
        for user in range(USERS if minute > 60 else USERS - 5):
            for operation in ("pay", "list") if random.random() < 0.9 else ():
                base = dict.fromkeys(SCHEMA, 0) | {"window_start": (28_000_000 + minute) * MINUTE_NS, "meter": ""}
                base |= {"user_id": f"user-{user}", "operation_id": operation, "events": 1}
                storm = 30 if minute in range(100, 104) and user == 3 else 1
                sent = int(random.gamma(9.0, 100.0) * storm)
                run = {"meter": "executions", "units": 3.0, "cpu_cycles": int(random.gamma(9.0, 1e6))}
                rows.append(base | run | {"micro_operation_type": "CPU_INSTRUCTION"})
                rows.append(base | {"micro_operation_type": "NETWORK_SEND", "network_bytes": sent})
        frame = pl.DataFrame(rows, infer_schema_length=None)
        frames.append(frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
    return frames


FRAMES = usage()


def watched(cuts: Iterable[int], restarts: Iterable[int], connection: Connection) -> None:
    """Show all windows, in steps that end at the cuts; the hook is made anew at the restarts."""
    edges = [0, *cuts, WINDOWS]
    hook, feed = DetectionHook(60, price=price), Feed()
    for first, end in itertools.pairwise(edges):
        if first in restarts:
            hook, feed = DetectionHook(60, price=price), Feed()
            feed.numbered(FRAMES[first].sample(20, seed=first))  # an engine's numbers are others then
        feed.close(hook, pl.concat(FRAMES[first:end]), connection)


def kept(connection: Connection) -> tuple[dict[Key, bytes], list[Any]]:
    """States of all series as a start finds them, and the anomalies."""
    bank = SeriesBank()
    keys = DetectorStore().load(connection, bank)
    found = connection.execute("SELECT id, ended_ns, document FROM anomalies ORDER BY id").fetchall()
    return {key: bank.rows(np.array([number])).tobytes() for number, key in keys}, [tuple(row) for row in found]


@pytest.fixture(scope="module")
def whole() -> sqlite3.Connection:
    """A hook that lived through all windows one by one."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    watched(range(1, WINDOWS), (), connection)
    return connection


def test_steps_and_restarts_change_nothing(whole: sqlite3.Connection) -> None:
    """Steps of one window or of many, and starts in mid-stream, give the same states bit for bit, and anomalies."""
    states, anomalies = kept(whole)
    assert len(states) > BLOCK
    assert anomalies
    random = np.random.default_rng(5)
    for size in (7, 60):
        cuts = sorted(random.choice(np.arange(1, WINDOWS), size, replace=False).tolist())
        other = sqlite3.connect(":memory:", isolation_level=None)
        watched(cuts, cuts[::3], other)
        found = kept(other)
        assert found[0] == states
        assert found[1] == anomalies


def test_old_values_are_dropped_once_states_have_them(whole: sqlite3.Connection) -> None:
    """What a start must learn again stays bounded."""
    steps = whole.execute("SELECT count(*) FROM detector_values").fetchone()[0]
    assert 0 < steps < 100


def test_a_person_s_detectors_are_taken_out(whole: sqlite3.Connection, postgresql_server: Server) -> None:
    """States and values of the person are gone, those of others as they were; on a server as in a file."""
    file = sqlite3.connect(":memory:", isolation_level=None)
    whole.backup(file)
    server = connect(postgresql_server.database())
    watched(range(10, WINDOWS, 10), (), server)
    before = kept(whole)[0]
    others = {key: state for key, state in before.items() if key[0] != "user-3"}
    for connection in (file, server):
        assert erase_user(connection, "user-3") == len(before) - len(others)
        assert kept(connection)[0] == others
        assert gather(connection, 29_000_000 * MINUTE_NS)
        assert kept(connection)[0] == others
        assert connection.execute("SELECT count(*) FROM detector_values").fetchone()[0] == 0
    server.close()


def test_values_are_gathered_only_once_they_are_old(whole: sqlite3.Connection) -> None:
    """Expiry of what came before the values changes nothing."""
    assert gather(whole, 28_000_000 * MINUTE_NS) == 0
