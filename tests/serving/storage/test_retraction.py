"""Events that are taken back count for nothing, once, in whatever order things happen; all that is computed agrees."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.contracts import Batch
from features.database import Location, connect
from features.log import open_log
from features.retracted import taken_back, without_retracted
from features.sqlite_log import SqliteEventLog
from features.windows import aggregate
from serving.commands.backfill import main as backfill_main
from serving.commands.erase import main as erase_main
from serving.commands.log import main as log_main
from serving.commands.retract import main
from serving.ledger.log_usage import read_log
from serving.storage.archive import Archive
from serving.storage.audit import audit
from serving.storage.history import History
from serving.storage.retraction import Retraction, RetractionError, Selection
from tests.features.events import NOW_S, batch, event
from tests.serving.engines import caught_up
from tests.serving.storage.conftest import catch_up

WINDOWS_S = (10, 3600)
FOR_EVER = (0, 2**62)


@dataclass(frozen=True, slots=True)
class Send:
    """A batch of (seconds ago, user, cycles, milliseconds), under the number of its place."""

    rows: tuple[tuple[int, str, int, float], ...]


ROWS = st.tuples(st.integers(0, 4_000), st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([0.0, 0.1, 7.3]))
SENDS = st.builds(Send, st.lists(ROWS, min_size=1, max_size=6).map(tuple))
SELECTIONS = st.one_of(
    st.builds(lambda user: Selection(user_id=user), st.sampled_from("abc")),
    st.builds(lambda number: Selection(producer="shop-1", sequences=(number, number + 1)), st.integers(0, 5)),
    st.builds(
        lambda user, start, span: Selection(
            user_id=user, start_ns=int(1e9 * (NOW_S - start)), end_ns=int(1e9 * (NOW_S - start + span))
        ),
        st.sampled_from("abc"),
        st.integers(1, 4_000),
        st.integers(1, 3_000),
    ),
)
ACTS = st.lists(st.one_of(SENDS, SENDS, SELECTIONS, st.sampled_from(["engine", "compact"])), min_size=2, max_size=9)


def _batch(send: Send, sequence: int) -> Batch:
    events = [
        event(-float(ago), user, cpuCycles=cycles, executionTimeMs=spent_ms)
        for ago, user, cycles, spent_ms in send.rows
    ]
    return batch(events, sequence)


def _frame(one: Batch) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(one.rows))


def _take_back(directory: Path, log: SqliteEventLog, wrong: Selection, **more: Any) -> tuple[int, int]:
    connection = connect(directory / "metercast.db")
    done = Retraction(log, connection, Archive(connection, directory / "history")).take_back(wrong, **more)
    connection.close()
    return done.events, done.before


def _agree(directory: Path, log: SqliteEventLog, expected: pl.DataFrame) -> None:
    """Windows, sums of a month, the log that invoices are rated from, and the audit say what is expected."""
    location = directory / "metercast.db"
    caught_up(log, location, WINDOWS_S)._store.close()
    history, connection = History(location), connect(location)
    for window_s in WINDOWS_S:
        windows = aggregate(expected, window_s * 10**9)
        assert_frame_equal(history.windows(window_s, *FOR_EVER), windows)
    assert history.totals(3600, *FOR_EVER)["cpu_cycles"].sum() == expected["cpu_cycles"].sum()
    archive = Archive(connection, directory / "history")
    parts = [(part.first_offset, part.last_offset, archive.read(part)) for part in archive.parts()]
    readers = read_log(log, WINDOWS_S, FOR_EVER, log.last_offset(), archived=lambda: iter(parts))
    for user in "abc":
        own = expected.filter(pl.col("user_id") == user)
        if user in readers:
            assert_frame_equal(readers[user].windows(10, *FOR_EVER), aggregate(own, 10 * 10**9))
        found = audit(connection, archive, user, 0, 2**62 // (3600 * 10**9) * 3600 * 10**9, 3600)
        assert found.differences.is_empty()
        assert_frame_equal(found.events, own.sort("timestamp", maintain_order=True), check_row_order=False)
    connection.close()
    assert log_main(["verify", "--data", str(directory)]) == log_main(["replay", "--data", str(directory)]) == 0


@settings(max_examples=20, deadline=None)
@given(ACTS)
def test_what_was_taken_back_never_was(acts: Sequence[Any]) -> None:
    """Whatever is sent, taken back (again), read and archived in whatever order: what remains is all there is."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = SqliteEventLog(directory / "metercast.db")
        caught_up(log, directory / "metercast.db", WINDOWS_S)._store.close()
        left = _frame(_batch(Send(((0, "a", 0, 0.0),)), 0)).clear()
        for number, act in enumerate(acts):
            if isinstance(act, Send):
                log.append([_batch(act, number)] * 2)  # the second is a duplicate
                left = left.vstack(_frame(_batch(act, number)))
            elif isinstance(act, Selection):
                wrong = left.filter(act.rows())
                assert _take_back(directory, log, act, only_count=True)[0] == wrong.height
                events, before = _take_back(directory, log, act)
                assert events == wrong.height
                assert _take_back(directory, log, act) == (0, events + before)
                left = left.filter(~act.rows())
            elif act == "engine":
                caught_up(log, directory / "metercast.db", WINDOWS_S)._store.close()
            else:
                assert log_main(["compact", "--older-than-days", "0", "--data", name]) == 0
        _agree(directory, log, left)
        log.close()


@pytest.fixture
def place(home: tuple[Location, list[str]]) -> tuple[Location, list[str]]:
    """A database with two batches that the engine has read, and the options that name it."""
    location, words = home
    log = open_log(location)
    rows = [event(-30.0, cpuCycles=5), event(-4 * 3600.0, cpuCycles=7), event(-30.0, "bob", cpuCycles=100)]
    log.append([batch(rows, 1), batch([event(-20.0, cpuCycles=1_000)], 2)])
    log.close()
    catch_up(location)
    return location, words


def _cycles(location: Location) -> dict[str, int]:
    catch_up(location)
    sums = (
        History(location).windows(3600, *FOR_EVER).group_by("user_id").agg(pl.col("cpu_cycles").sum()).sort("user_id")
    )
    return dict(sums.iter_rows())


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--reason", "a test", "--json"])
    return code, json.loads(capsys.readouterr().out or "{}")


def test_the_command_takes_back_what_it_is_told(
    place: tuple[Location, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run counts; a user's events of a batch, a sequence and a file go, each once; 3 where there are none."""
    location, words = place
    path = tmp_path / "wrong.ndjson"
    path.write_text("\n".join(json.dumps(event(-50.0, "cem", cpuCycles=value)) for value in (1, 2, 2)))
    assert backfill_main([str(path), *words]) == 0
    assert _cycles(location) == {"ada": 1_012, "bob": 100, "cem": 5}
    code, answer = _run(capsys, *words, "--user", "ada", "--sequence", "1", "--producer", "shop-1", "--dry-run")
    assert (code, answer["events"], answer["usage"]["cpu_cycles"], answer["users"]) == (0, 2, 12, ["ada"])
    assert _cycles(location)["ada"] == 1_012
    for events, before in ((2, 0), (0, 2)):
        code, answer = _run(capsys, *words, "--user", "ada", "--sequence", "1", "--producer", "shop-1")
        assert (code, answer["events"], answer["events_retracted_before"]) == (0, events, before)
    assert _cycles(location) == {"ada": 1_000, "bob": 100, "cem": 5}
    assert _run(capsys, *words, "--file", str(path))[1]["events"] == 3
    assert _run(capsys, *words, "--producer", "shop-1", "--epoch", "1", "--sequence", "1-9")[1]["events"] == 2
    assert _cycles(location) == {}
    assert _run(capsys, *words, "--user", "nobody")[0] == 3
    assert log_main(["replay", *words]) == 0


def test_a_batch_that_was_taken_back_is_not_taken_in_again(place: tuple[Location, list[str]]) -> None:
    """Sent once more it is a duplicate; the right events come in under another sequence."""
    location, words = place
    assert main([*words, "--producer", "shop-1", "--sequence", "2", "--reason", "a test"]) == 0
    log = open_log(location)
    again, right = log.append([batch([event(-20.0, cpuCycles=1_000)], 2), batch([event(-20.0, cpuCycles=10)], 3)])
    log.close()
    assert (again.outcome.value, right.outcome.value) == ("duplicate", "accepted")
    assert _cycles(location) == {"ada": 22, "bob": 100}


def test_several_at_once_take_back_once(place: tuple[Location, list[str]]) -> None:
    """Overlapping retractions by four processes' worth of connections: no event is taken back twice."""
    location, words = place
    wrong = [Selection(user_id="ada"), Selection(producer="shop-1", sequences=(1, 1)), Selection(user_id="ada")] * 2

    def take_back(one: Selection) -> int:
        log, connection = open_log(location), connect(location)
        events = Retraction(log, connection, Archive(connection, Path(words[1]) / "history")).take_back(one).events
        connection.close()
        log.close()
        return events

    with ThreadPoolExecutor(len(wrong)) as pool:
        assert sum(pool.map(take_back, wrong)) == 4
    assert _cycles(location) == {}


def test_an_erased_user_leaves_no_retraction(place: tuple[Location, list[str]], capsys: Any) -> None:
    """Both sides go; what others had is as before."""
    location, words = place
    assert _run(capsys, *words, "--producer", "shop-1", "--sequence", "1")[1]["events"] == 3
    assert erase_main(["--user", "ada", *words]) == 0
    assert _cycles(location) == {}
    assert log_main(["replay", *words]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say which events were wrong"),
        (["--epoch", "1", "--user", "ada"], "name the producer too"),
        (["--producer", "retraction-1-shop-1"], "send them again"),
        (["--producer", "shop-1", "--sequence", "9-2"], "the smaller number first"),
        (["--producer", "shop-1", "--sequence", "x"], "write 17 or 17-20"),
        (["--user", "ada", "--start", "yesterday"], "write it as 2026-11-01T00:00:00"),
        (["--user", "ada", "--start", "2026-11-02", "--end", "2026-11-01"], "the span is empty"),
        (["--file", "nowhere.csv"], "cannot be read"),
    ],
)
def test_misuse_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """2, and what to do; nothing is taken back."""
    SqliteEventLog(tmp_path / "metercast.db").close()
    assert main([*words, "--reason", "a test", "--data", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@given(st.lists(SENDS, min_size=1, max_size=3), st.randoms())
def test_sums_have_retractions_in_them_in_any_order(sends: list[Send], chance: Any) -> None:
    """Rows and those that take them back, however they are mixed, sum up to what is left, and are left out in pairs."""
    batches = [_frame(_batch(send, number)) for number, send in enumerate(sends)]
    wrong = [rows.filter(pl.Series([chance.random() < 0.5 for _ in range(rows.height)])) for rows in batches]
    back = [taken_back(rows, 1) for rows in wrong if rows.height]
    mixed = pl.concat([*batches, *back]).sample(fraction=1.0, shuffle=True, seed=chance.randint(0, 99))
    rest = without_retracted(mixed)
    assert_frame_equal(aggregate(mixed, 10**10), aggregate(rest, 10**10))
    assert rest.height == sum(rows.height for rows in batches) - sum(rows.height for rows in back)
    with pytest.raises(RetractionError):
        Selection()
