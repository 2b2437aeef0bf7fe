"""Episodes open when an operation uses more a run, are named after what costs most, and end."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from features.windows import SCHEMA
from serving.alerts.anomaly import EVERYONE, Anomaly
from serving.alerts.detector_store import DetectorStore
from serving.alerts.hook import DetectionHook
from serving.alerts.series_bank import SeriesBank
from serving.alerts.store import read_open
from tests.serving.alerts.closed_windows import Feed

SECOND = 1_000_000_000
FEED = Feed()


def price(_operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
    """Network at one per kB, waiting at a thousandth per ms."""
    rates = {"network_bytes": Decimal("0.001"), "execution_time_ms": Decimal("0.001")}
    return sum(
        (Decimal(str(value)) * rates.get(resource, Decimal(0)) for (_, resource), value in excess.items()), Decimal(0)
    ), "USD"


def window(second: int, network: float, wait_ms: float, runs: float = 10.0) -> pl.DataFrame:
    """One window of a checkout by one user."""
    base = dict.fromkeys(SCHEMA, 0) | {"user_id": "ada", "operation_id": "checkout", "meter": "", "events": 1}
    stamp = {"window_start": second * SECOND}
    rows = [
        base | stamp | {"micro_operation_type": "CPU_INSTRUCTION", "meter": "executions", "units": runs},
        base | stamp | {"micro_operation_type": "NETWORK_SEND", "network_bytes": int(network * runs)},
        base | stamp | {"micro_operation_type": "WAIT", "execution_time_ms": wait_ms * runs},
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def run(seconds: list[tuple[float, float, float]], hook: DetectionHook, connection: sqlite3.Connection) -> None:
    """Feed (network bytes a run, wait ms a run, runs) second by second."""
    for second, (network, wait_ms, runs) in enumerate(seconds):
        FEED.close(hook, window(second + 1_000, network, wait_ms, runs), connection)


def usual(count: int, runs: float = 10.0) -> list[tuple[float, float, float]]:
    """Seconds of calm with some noise."""
    return [(1_000 + 20 * (second % 5), 5 + second % 3, runs + second % 4) for second in range(count)]


def states(connection: sqlite3.Connection) -> dict[Any, bytes]:
    """The states of all series as a start would find them, to the last bit."""
    bank = SeriesBank()
    keys = DetectorStore().load(connection, bank)
    return {key: bank.rows(np.array([number])).tobytes() for number, key in keys}


def found(connection: sqlite3.Connection) -> list[Anomaly]:
    """Open anomalies over all users."""
    return [anomaly for anomaly in read_open(connection) if anomaly.user == EVERYONE]


def test_a_retry_storm_is_named_after_what_costs_most() -> None:
    """Waiting that lingers after the storm does not take the network's place in the episode."""
    connection, hook = sqlite3.connect(":memory:"), DetectionHook(1, price=price)
    run([*usual(40), *[(9_000, 40, 10)] * 5, (1_000, 60, 10)], hook, connection)
    anomaly = found(connection)[0]
    assert (anomaly.operation, anomaly.micro_operation_type, anomaly.resource) == (
        "checkout",
        "NETWORK_SEND",
        "network_bytes",
    )
    assert anomaly.started_ns == 1_040 * SECOND
    assert anomaly.observed == 9_000
    assert anomaly.cost is not None
    assert anomaly.cost > 5 * 10 * 7


def test_more_customers_are_no_anomaly() -> None:
    """Ten times the runs at the usual use a run stays quiet."""
    connection, hook = sqlite3.connect(":memory:"), DetectionHook(1, price=price)
    run([*usual(40), *usual(10, runs=100.0)], hook, connection)
    assert found(connection) == []


def test_an_episode_ends_after_quiet_windows_and_survives_a_restart() -> None:
    """A new process goes on with the open episode and closes it."""
    connection = sqlite3.connect(":memory:")
    run([*usual(40), (9_000, 5, 10)], DetectionHook(1, price=price), connection)
    assert len(found(connection)) == 1
    hook = DetectionHook(1, price=price)
    for second in range(41, 60):
        FEED.close(hook, window(1_000 + second, 1_020, 5), connection)
    assert found(connection) == []


def hourly(hours: int, users: tuple[str, ...] = ("ada", "ben"), start_hour: int = 0) -> list[pl.DataFrame]:
    """Windows of an hour of several users of one operation, with a little noise."""
    frames = []
    for hour in range(start_hour, start_hour + hours):
        parts = [window(0, 1_000 + 20 * ((hour * 7 + place) % 5), 5.0) for place in range(len(users))]
        named = [part.with_columns(user_id=pl.lit(user)) for part, user in zip(parts, users, strict=True)]
        stamp = pl.lit(hour * 3_600 * SECOND).cast(SCHEMA["window_start"])
        frames.append(pl.concat(named).with_columns(window_start=stamp))
    return frames


def paged(connection: sqlite3.Connection) -> list[Anomaly]:
    """Open episodes that somebody was told of."""
    return [one for one in read_open(connection) if one.paged_ns is not None]


def test_a_rise_of_prices_is_told_at_once_and_as_what_it_is() -> None:
    """After a restart with dearer network, one episode of everyone says which unit rose, and what that costs."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(48):
        FEED.close(hook, frame, connection)
    assert paged(connection) == []

    def dearer(operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
        return price(operation, {key: value * (2 if "network" in key[1] else 1) for key, value in excess.items()})

    hook = DetectionHook(3_600, price=dearer)
    FEED.close(hook, hourly(1, start_hour=48)[0], connection)
    told = [one for one in paged(connection) if one.kind == "price"]
    assert [(one.user, one.resource) for one in told] == [(EVERYONE, "network_bytes")]
    assert "rose by 100 %" in told[0].reason
    assert told[0].cost is not None
    assert 19 < told[0].cost < 22


def test_new_spend_is_told_until_it_has_a_past() -> None:
    """Who comes when others have been there for a day is told of as new; nobody is on the first day."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(48):
        FEED.close(hook, frame, connection)
    assert paged(connection) == []
    for frame in hourly(3, users=("ada", "ben", "cem"), start_hour=48):
        FEED.close(hook, frame, connection)
    told = paged(connection)
    assert [(one.user, one.kind) for one in told] == [("cem", "new")]
    assert "is new" in told[0].reason


def with_report(frame: pl.DataFrame, *users: str) -> pl.DataFrame:
    """The same windows, in which some users run another operation as well."""
    report = frame.filter(pl.col("user_id").is_in(users)).with_columns(operation_id=pl.lit("report"))
    return pl.concat([frame, report])


def test_an_operation_that_is_new_to_a_user_is_told_of_that_user() -> None:
    """Where others had it before; it is told as new until it has a past of a day."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(48):
        FEED.close(hook, with_report(frame, "ben"), connection)
    for frame in hourly(3, start_hour=48):
        FEED.close(hook, with_report(frame, "ada", "ben"), connection)
    told = [(one.user, one.operation, one.kind) for one in paged(connection)]
    assert told == [("ada", "report", "new")]
    for frame in hourly(36, start_hour=51):
        FEED.close(hook, with_report(frame, "ada", "ben"), connection)
    assert [one for one in read_open(connection) if one.kind == "new"] == []


def test_an_operation_that_nobody_had_is_told_once_for_all() -> None:
    """Not once for each of its users."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(48):
        FEED.close(hook, frame, connection)
    for frame in hourly(3, start_hour=48):
        FEED.close(hook, with_report(frame, "ada", "ben"), connection)
    told = [one for one in paged(connection) if one.kind == "new"]
    assert [(one.user, one.operation) for one in told] == [(EVERYONE, "report")]
    assert told[0].cost is not None
    assert 60 < told[0].cost < 63
    assert told[0].reason.startswith("report is new")


def test_a_new_user_starts_from_what_others_use() -> None:
    """The first windows of a user who uses ten times what others use a run are judged already."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(48):
        FEED.close(hook, frame, connection)
    for place, frame in enumerate(hourly(3, users=("ada", "ben", "cem"), start_hour=48)):
        times = pl.when(pl.col("user_id") == "cem").then(10).otherwise(1)
        network = (pl.col("network_bytes") * times).alias("network_bytes")
        FEED.close(hook, frame.with_columns(network), connection)
        surges = [one for one in read_open(connection) if one.kind == "surge" and one.user == "cem"]
        assert bool(surges) or place == 0


def test_a_leak_is_told_as_a_drift() -> None:
    """Usage a run that grows by 5 % a day is found by the test for slow drift, with what it costs an hour."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for hour, frame in enumerate(hourly(24 * 16)):
        growth = 1.05 ** max(0.0, hour / 24 - 8)
        network = (pl.col("network_bytes") * growth).cast(pl.Int64)
        FEED.close(hook, frame.with_columns(network_bytes=network), connection)
    drifts = [one for one in paged(connection) if one.kind == "drift"]
    assert drifts
    assert all(one.micro_operation_type == "NETWORK_SEND" for one in drifts)
    assert all(one.cost_per_hour is not None and one.cost_per_hour > 0 for one in drifts)


def test_a_step_that_was_undone_leaves_nothing() -> None:
    """Windows of undone steps, not written or written and rolled back, are neither learnt nor told."""
    kept, disturbed = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    hook = DetectionHook(1, price=price)
    storm = window(1_040, 9_000.0, 40.0)
    run(usual(40), hook, disturbed)
    for is_written in (False, True):
        disturbed.execute("BEGIN")
        hook.closed(1, *FEED.numbered(storm), disturbed)
        if is_written:
            hook.write(disturbed)
        disturbed.execute("ROLLBACK")
        hook.rolled_back()
        hook.write(disturbed)
        assert found(disturbed) == []
    FEED.close(hook, storm, disturbed)
    run([*usual(40), (9_000.0, 40.0, 10.0)], DetectionHook(1, price=price), kept)
    assert found(disturbed) == found(kept) != []
    assert states(disturbed) == states(kept)


def test_a_restart_changes_nothing() -> None:
    """A hook that is made anew for every window finds what one that lives on finds."""
    seconds = [*usual(60), *[(9_000.0, 40.0, 10.0)] * 4, *usual(20)]
    living, restarted = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    hook = DetectionHook(1, price=price)
    for second, figures in enumerate(seconds):
        FEED.close(hook, window(second + 1_000, *figures), living)
        anew = DetectionHook(1, price=price)
        FEED.close(anew, window(second + 1_000, *figures), restarted)
    found_by = [one.execute("SELECT id, document FROM anomalies ORDER BY id").fetchall() for one in (living, restarted)]
    assert found_by[0] == found_by[1]
    assert found_by[0]


def test_states_of_series_fit_in_four_kilobytes() -> None:
    """Whatever is kept of a series, its drift test included."""
    connection = sqlite3.connect(":memory:")
    hook = DetectionHook(3_600, price=price)
    for frame in hourly(24 * 5):
        FEED.close(hook, frame, connection)
    kept = states(connection)
    assert kept
    assert max(map(len, kept.values())) <= 4_096
