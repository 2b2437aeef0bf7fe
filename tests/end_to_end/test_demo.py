"""A shortened demo, for real: every number it prints is what was measured, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.sqlite_log import SqliteEventLog
from serving.accounts.usage_records import usage_records
from serving.estimating.open_usage import NEAR_WINDOWS
from serving.plans.plan_files import load_plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period
from serving.storage.history import History
from tests.demo_run import COMMAND, alive

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_windows_hold_what_was_logged(demo_run: tuple[Path, dict[str, Any]]) -> None:
    """Events acknowledged, events in the log and events in windows are the same number, and so are their sums."""
    data, document = demo_run
    log = SqliteEventLog(data / "metercast.db")
    logged = pl.concat([pl.from_arrow(one.batch.rows) for one in log.read(0, 100_000)])  # type: ignore[type-var]
    windows = History(data / "metercast.db").windows(1, 0, 2**62)
    assert windows["events"].sum() == logged.height == log.events()
    for name in ("cpu_cycles", "network_bytes", "disk_bytes"):
        assert windows[name].sum() == logged[name].sum()
    assert document["measured"]["events_in_windows"] <= logged.height
    requests = windows.filter((pl.col("meter") == "executions") & pl.col("operation_id").str.contains("^(GET|POST) "))
    answered = document["measured"]["requests_answered"]
    assert answered * 0.98 <= requests["units"].sum() <= answered + 100


@pytest.mark.slow
def test_the_fault_is_found_where_and_when_it_was(demo_run: tuple[Path, dict[str, Any]]) -> None:
    """The dearest anomaly is the checkout's, on the network, within the fault's time, and costs money."""
    _, document = demo_run
    dearest = max(document["anomalies"], key=lambda one: Decimal(one["cost"] or 0))
    assert dearest["operationID"] == document["fault"]["operation"]
    assert dearest["microOperationType"].startswith("NETWORK")
    assert dearest["observed"] > dearest["expected"]["high"]
    began, on, off = (
        datetime.fromisoformat(text) for text in (dearest["started"], document["fault"]["on"], document["fault"]["off"])
    )
    assert (on - began).total_seconds() <= 1.0
    assert began < off
    assert Decimal(dearest["cost"]) > 0


@pytest.mark.slow
def test_bills_are_those_of_the_log(demo_run: tuple[Path, dict[str, Any]]) -> None:
    """Spend so far is at least what the closed windows cost, rated by themselves, and at most what all that came cost.

    What is in open windows counts at once; more may have come into them since. Quantiles rise from there.
    """
    data, document = demo_run
    history = History(data / "metercast.db")
    for one in document["estimates"]:
        window_ns = one["model"]["window_s"] * 1_000_000_000
        until_ns, start_ns = (
            int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
            for text in (one["data_until"], one["period"]["start"])
        )
        for estimate in one["estimates"]:
            plan = load_plan(ROOT / "configs" / "plans" / f"{estimate['plan']['id']}.yaml")
            closed, all_there = (
                rate(
                    plan,
                    usage_records(history.windows(1, start_ns, end_ns, one["user"]), window_ns),
                    Period(start_ns, end_ns),
                ).total
                for end_ns in (until_ns, until_ns + NEAR_WINDOWS * window_ns)
            )
            cent, so_far = Decimal("0.01"), Decimal(estimate["spend_so_far"])
            assert closed - cent <= so_far <= all_there + cent
            assert closed > 0
            quantiles = [Decimal(amount) for amount in estimate["quantiles"].values()]
            assert quantiles == sorted(quantiles)
            assert quantiles[0] >= Decimal(estimate["spend_so_far"])
        assert 0 < one["comparison"]["probability"] <= 1


@pytest.mark.slow
def test_the_champion_is_the_best_of_the_backtest(demo_run: tuple[Path, dict[str, Any]]) -> None:
    """All models were compared and the estimates rest on the one that won."""
    _, document = demo_run
    models = {row["model"]: row for row in document["training"]["models"]}
    assert set(models) == {"seasonal-naive", "markov", "lstm", "ensemble"}
    champion = document["training"]["champion"]
    assert champion["wql"] == min(row["wql"] for row in models.values())
    assert {one["model"]["version"] for one in document["estimates"]} == {champion["version"]}
    assert document["profiler"]["dropped_events"] == 0
    assert 0 < document["profiler"]["profiler_share_of_cpu"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [1.5, 6.0])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, after_s: float) -> None:
    """Interrupted while it starts or while it collects, the demo ends its processes."""
    data = tmp_path / "data"
    process = subprocess.Popen([*COMMAND, "--data", str(data)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    time.sleep(0.3)
    assert not alive(str(data))


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--seconds", "5"], "at least 30"), (["--data", "/proc/no"], "writable directory")]
)
def test_bad_options_end_with_code_2(arguments: list[str], message: str) -> None:
    """One line says what is allowed."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert message in done.stderr
