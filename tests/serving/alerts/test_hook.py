"""Episodes open when an operation uses more a run, are named after what costs most, and end."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from features.windows import SCHEMA
from serving.alerts.anomaly import EVERYONE, Anomaly
from serving.alerts.hook import DetectionHook
from serving.alerts.store import read_open

SECOND = 1_000_000_000


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
        hook.closed(1, window(second + 1_000, network, wait_ms, runs), connection)


def usual(count: int, runs: float = 10.0) -> list[tuple[float, float, float]]:
    """Seconds of calm with some noise."""
    return [(1_000 + 20 * (second % 5), 5 + second % 3, runs + second % 4) for second in range(count)]


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
        hook.closed(1, window(1_000 + second, 1_020, 5), connection)
    assert found(connection) == []
