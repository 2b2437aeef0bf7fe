"""What every event log promises, tested of each: the embedded one and the one on a PostgreSQL server."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from features.contracts import Batch, EventLog, Outcome
from features.database import Location, connect
from features.log import open_log
from features.postgresql_log import PostgresqlEventLog
from features.sqlite_log import SqliteEventLog
from features.stored_rows import CorruptBatchError
from tests.features.events import batch, event
from tests.postgresql import Server

_WRITER = """
import sys
from pathlib import Path
from features.log import open_log
from tests.features.events import batch, event
place, producer = sys.argv[1:]
log = open_log(place if "://" in place else Path(place))
for sequence in range(100_000):
    log.append([batch([event(-1.0, cpuCycles=sequence)], sequence, producer)])
    print(sequence, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where a log may live."""
    if request.param == "sqlite":
        return tmp_path / "log.db"
    server: Server = request.getfixturevalue("postgresql_server")
    return server.database()


@pytest.fixture
def log(location: Location) -> Iterator[EventLog]:
    """An empty log."""
    opened = open_log(location)
    yield opened
    opened.close()


def _outcomes(log: EventLog, *batches: Batch) -> list[Outcome]:
    return [receipt.outcome for receipt in log.append(batches)]


def _named(names: list[str], sequence: int) -> Batch:
    """A batch of a sender without sequences: each event has an id."""
    ids = tuple(hashlib.blake2b(name.encode(), digest_size=16).digest() if name else b"" for name in names)
    made = batch([event(cpuCycles=row) for row in range(len(names))], sequence, producer="content")
    return replace(made, event_ids=ids)


def test_same_batch_counts_once_and_another_body_is_a_conflict(log: EventLog) -> None:
    """A producer that repeats a batch after a lost answer is not billed twice, also within one transaction."""
    first, changed = batch([event(cpuCycles=1)]), batch([event(cpuCycles=2)])
    assert _outcomes(log, first, first, changed) == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT]
    assert _outcomes(log, first) == [Outcome.DUPLICATE]
    assert [logged.batch.rows.to_pylist()[0]["cpu_cycles"] for logged in log.read(0, 10)] == [1]


def test_reading_goes_on_after_an_offset(log: EventLog) -> None:
    """A reader that remembers its offset sees every batch once, in order."""
    log.append([batch([event()], sequence) for sequence in range(5)])
    seen: list[int] = []
    offset = 0
    while found := log.read(offset, 2):
        seen += [logged.batch.sequence for logged in found]
        offset = found[-1].offset
    assert seen == [0, 1, 2, 3, 4]
    assert offset == log.last_offset()


def test_a_damaged_batch_is_named(log: EventLog, location: Location) -> None:
    """Corruption is an error that says where, not a wrong bill."""
    log.append([batch([event()])])
    connection = connect(location)
    connection.execute("UPDATE log SET body = ?", (b"\x00" * 100,))
    with pytest.raises(CorruptBatchError, match="offset 1"):
        log.read(0, 1)


def test_an_event_id_counts_once_in_whatever_batch(log: EventLog) -> None:
    """Senders without sequences name their events; one that comes again is left out and counted, the rest is kept."""
    assert log.append([_named(["a", "b", "a", ""], 1)])[0].duplicate_rows == 1
    again = _named(["b", "c", ""], 2)
    receipt = log.append([again])[0]
    assert (receipt.outcome, receipt.duplicate_rows) == (Outcome.ACCEPTED, 1)
    assert [logged.batch.rows.num_rows for logged in log.read(0, 10)] == [3, 2]
    assert _outcomes(log, again) == [Outcome.DUPLICATE]


def test_old_event_ids_are_forgotten(location: Location) -> None:
    """The window of event ids has a bound; beyond it an event counts again."""
    kind = SqliteEventLog if isinstance(location, Path) else PostgresqlEventLog
    log = kind(location, event_ids_kept=2)  # type: ignore[arg-type]
    log.append([_named(["a"], 1), _named(["b"], 2), _named(["c"], 3)])
    assert log.append([_named(["c", "b"], 4)])[0].duplicate_rows == 2
    assert log.append([_named(["a", ""], 5)])[0].duplicate_rows == 0
    assert connect(location).execute("SELECT count(*) FROM event_ids").fetchone()[0] <= 2
    log.close()


def test_several_writers_append_side_by_side(location: Location) -> None:
    """Logs of several threads on one database keep all batches, and a reader that follows them passes none by."""
    logs = [open_log(location) for _ in range(3)]
    reader, seen, offset = open_log(location), list[tuple[str, int]](), 0

    def work(number: int) -> None:
        for sequence in range(10):
            logs[number].append([batch([event()], sequence, producer=f"p{number}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while len(seen) < 30:
        for logged in reader.read(offset, 7):
            seen.append((logged.batch.producer, logged.batch.sequence))
            offset = logged.offset
        if not any(thread.is_alive() for thread in threads) and offset == reader.last_offset():
            break
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(f"p{number}", sequence) for number in range(3) for sequence in range(10)]
    for one in (*logs, reader):
        one.close()


def test_nothing_acknowledged_is_lost_by_kill(location: Location) -> None:
    """What was acknowledged before SIGKILL is in the log afterwards, and nothing twice."""
    for round_ in range(2):
        words = [sys.executable, "-c", _WRITER, str(location), f"p{round_}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = -1
            for _line in range(20):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        log = open_log(location)
        kept = [one.batch.sequence for one in log.read(0, 100_000) if one.batch.producer == f"p{round_}"]
        log.close()
        assert kept == sorted(set(kept))
        assert set(range(acknowledged + 1)) <= set(kept)
