"""The log keeps what it acknowledged, once, whatever happens to the process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from features.contracts import Outcome
from features.sqlite_log import SqliteEventLog
from features.stored_rows import CorruptBatchError
from tests.features.events import batch, event

_WRITER = """
import sys
from pathlib import Path
from features.sqlite_log import SqliteEventLog
from tests.features.events import batch, event
log = SqliteEventLog(Path(sys.argv[1]))
for sequence in range(100_000):
    log.append([batch([event(-1.0, cpuCycles=sequence)], sequence)])
    print(sequence, flush=True)
"""


def test_same_batch_counts_once_and_another_body_is_a_conflict(tmp_path: Path) -> None:
    """A producer that repeats a batch after a lost answer is not billed twice."""
    log = SqliteEventLog(tmp_path / "log.db")
    first, changed = batch([event(cpuCycles=1)]), batch([event(cpuCycles=2)])
    assert [one.outcome for one in log.append([first, first, changed])] == [
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
    ]
    assert [one.outcome for one in log.append([first])] == [Outcome.DUPLICATE]
    assert [logged.batch.rows.to_pylist()[0]["cpu_cycles"] for logged in log.read(0, 10)] == [1]


def test_reading_goes_on_after_an_offset(tmp_path: Path) -> None:
    """A reader that remembers its offset sees every batch once, in order."""
    log = SqliteEventLog(tmp_path / "log.db")
    log.append([batch([event()], sequence) for sequence in range(5)])
    seen: list[int] = []
    offset = 0
    while found := log.read(offset, 2):
        seen += [logged.batch.sequence for logged in found]
        offset = found[-1].offset
    assert seen == [0, 1, 2, 3, 4]
    assert offset == log.last_offset()


def test_a_damaged_batch_is_named(tmp_path: Path) -> None:
    """Corruption on disk is an error that says where, not a wrong bill."""
    log = SqliteEventLog(tmp_path / "log.db")
    log.append([batch([event()])])
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE log SET body = zeroblob(length(body))")
    with pytest.raises(CorruptBatchError, match="offset 1"):
        log.read(0, 1)


def test_threads_append_side_by_side(tmp_path: Path) -> None:
    """Batches of several threads are all kept."""
    log = SqliteEventLog(tmp_path / "log.db")

    def work(number: int) -> None:
        for sequence in range(10):
            log.append([batch([event()], sequence, producer=f"p{number}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.events() == 40


def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    """What was acknowledged before SIGKILL is in the log afterwards, and nothing twice."""
    path = tmp_path / "log.db"
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = -1
            for _line in range(20):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        log = SqliteEventLog(path)
        kept = [logged.batch.sequence for logged in log.read(0, 100_000)]
        log.close()
        assert kept == sorted(set(kept))
        assert set(range(acknowledged + 1)) <= set(kept)
