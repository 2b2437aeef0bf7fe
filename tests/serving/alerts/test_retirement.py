"""What was learnt of users long gone is forgotten at a time that follows from the windows alone."""

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
from serving.alerts.anomaly import Anomaly
from serving.alerts.detector_erasure import erase_user
from serving.alerts.detector_store import DetectorStore
from serving.alerts.hook import DetectionHook
from serving.alerts.series_bank import SeriesBank
from serving.alerts.store import parse
from serving.alerts.watch_list import Key
from tests.postgresql import Server
from tests.serving.alerts.closed_windows import Feed
from tests.serving.alerts.test_hook import price

DAYS, SILENCE_DAYS, EVERY_H = 30, 10, 3
HOURS_NS = 3_600_000_000_000
AWAY = {"gone": (5, 99), "back": (6, 20), "pauses": (7, 16)}
"""Users and the days from when and until when they are away; all others never are."""


def usage() -> list[pl.DataFrame]:
    """Windows of an hour, three hours apart, of users of whom some stop and some come back."""
    random, frames = np.random.default_rng(8), []
    for window in range(DAYS * 24 // EVERY_H):
        hour, rows = window * EVERY_H, list[dict[str, Any]]()
        for user in ("ada", "ben", *AWAY):
            first, last = AWAY.get(user, (99, 99))
            if first <= hour // 24 < last:
                continue
            base = dict.fromkeys(SCHEMA, 0) | {"window_start": (460_008 + hour) * HOURS_NS, "meter": "", "events": 1}
            base |= {"user_id": user, "operation_id": "export" if user == "gone" else "pay"}
            rows.append(base | {"micro_operation_type": "CPU_INSTRUCTION", "meter": "executions", "units": 3.0})
            sent = int(random.gamma(9.0, 100.0))
            rows.append(base | {"micro_operation_type": "NETWORK_SEND", "network_bytes": sent})
        frame = pl.DataFrame(rows, infer_schema_length=None)
        frames.append(frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
    return frames


FRAMES = usage()


def watched(connection: Connection, cuts: Iterable[int], silence_days: int = SILENCE_DAYS) -> Connection:
    """Show all windows, in steps that end at the cuts, with a start before every second step."""
    feed = Feed()
    for step, (first, end) in enumerate(itertools.pairwise([0, *cuts, len(FRAMES)])):
        if step % 2 == 0:
            hook = DetectionHook(3_600, price, silence_days=silence_days)
        feed.close(hook, pl.concat(FRAMES[first:end]), connection)
    return connection


def memory() -> sqlite3.Connection:
    """An empty database."""
    return sqlite3.connect(":memory:", isolation_level=None)


def kept(connection: Connection) -> dict[Key, bytes]:
    """States of all series that have had values, as a start finds them."""
    bank = SeriesBank()
    keys = DetectorStore().load(connection, bank)
    return {key: bank.rows(np.array([number])).tobytes() for number, key in keys if bank.begun()[number]}


def anomalies(connection: Connection) -> list[Anomaly]:
    """All episodes, open or ended."""
    rows = connection.execute("SELECT document, verdict FROM anomalies ORDER BY id").fetchall()
    return [parse(*row) for row in rows]


@pytest.fixture(scope="module")
def whole() -> Connection:
    """One hook that lived through all windows one by one."""
    return watched(memory(), range(1, len(FRAMES)))


def test_users_long_gone_are_forgotten(whole: Connection) -> None:
    """No table has a trace of them in the detectors, with what only they called; others are as if nothing was."""
    with_all = kept(watched(memory(), range(8, len(FRAMES), 8), silence_days=3_650))
    left = kept(whole)
    assert {key[0] for key in with_all} - {key[0] for key in left} == {"gone"}
    assert all(key[1] != "export" for key in left)
    stayed = {key: state for key, state in with_all.items() if key[0] in ("ada", "ben", "pauses")}
    assert stayed
    assert {key: left[key] for key in stayed} == stayed
    numbers = whole.execute("SELECT max(series_id) FROM detector_series").fetchone()[0]
    assert numbers < len(with_all)


def test_who_comes_back_after_it_begins_anew(whole: Connection) -> None:
    """They are told of as new, with a first value of the day they came back; a shorter absence is none."""
    new = [one for one in anomalies(whole) if one.kind == "new"]
    assert {one.user for one in new} == {"back"}
    without = watched(memory(), range(8, len(FRAMES), 8), silence_days=3_650)
    assert [one for one in anomalies(without) if one.kind == "new"] == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_steps_and_restarts_change_nothing(whole: Connection, seed: int) -> None:
    """The same is forgotten, and all else the same to the last bit, whatever the steps and starts."""
    random = np.random.default_rng(seed)
    cuts = sorted(random.choice(np.arange(1, len(FRAMES)), 5 * seed, replace=False).tolist())
    other = watched(memory(), cuts)
    assert kept(other) == kept(whole)
    assert anomalies(other) == anomalies(whole)


def test_a_person_can_be_erased_after_others_were_forgotten(whole: Connection, postgresql_server: Server) -> None:
    """Numbers were given anew: the right states go, on a server as in a file."""
    file, server = memory(), connect(postgresql_server.database())
    whole.backup(file)
    watched(server, range(20, len(FRAMES), 20))
    for connection in (file, server):
        others = {key: state for key, state in kept(whole).items() if key[0] != "ben"}
        assert erase_user(connection, "ben") > 0
        assert kept(connection) == others
    server.close()
