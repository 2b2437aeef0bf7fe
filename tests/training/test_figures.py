"""Plots that are kept with a model name nobody; those of a notebook name what is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from models.forecasters.seasonal_naive import SeasonalNaive
from models.panel import Panel
from training.backtest import Backtest, backtest
from training.figures import fan_figure
from training.records import log_backtest
from training.tracking import Tracking


def example_backtest() -> Backtest:
    """A backtest of two series of people and one with a plain name."""
    values = np.random.default_rng(0).random((3, 96)) + np.arange(3)[:, None]
    names = ("alice@example.org|render|DISK_READ|disk_bytes", "bob|search|CPU_INSTRUCTION|cpu_cycles", "carol")
    tenants, resources = ("alice@example.org", "bob", "carol"), ("disk_bytes", "cpu_cycles", "cpu_cycles")
    panel = Panel(names, tenants, resources, values, 0, 3_600_000_000_000, 24)
    return backtest(lambda part, horizon: SeasonalNaive().fit(part, horizon), panel, (72,), 24)


def test_plots_of_runs_name_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Erasure looks for names in files, and finds none in a picture: there must be none."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plain = fan_figure(example_backtest(), named=False)
    assert [axes.get_title() for axes in plain.axes] == [
        "series 1, cpu_cycles",
        "series 2, search, CPU_INSTRUCTION, cpu_cycles",
        "series 3, render, DISK_READ, disk_bytes",
    ]
    tracking = Tracking(tmp_path, "test")
    log_backtest(tracking, tracking.start("run", {}), example_backtest())
    expected = io.BytesIO()
    plain.savefig(expected, format="png")
    (kept,) = (tmp_path / "mlartifacts").rglob("fan.png")
    assert kept.read_bytes() == expected.getvalue()


def test_a_notebook_may_name_series() -> None:
    """Who asks for a series by name sees its name."""
    assert fan_figure(example_backtest(), ["carol"]).axes[0].get_title() == "carol"
