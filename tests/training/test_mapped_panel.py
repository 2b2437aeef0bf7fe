"""Panels in memory-mapped files are the panels that frames and windows make in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.series import all_series
from models.panel import Panel
from serving.storage.history import History
from tests.postgresql import Server
from tests.training.directories import fill, platform_directory
from training import mapped_panel
from training.configuration import DataConfiguration
from training.data import NoDataError, panel_of, panel_of_directory
from training.data_module import PanelDataModule
from training.mapped_panel import is_mapped, map_panel

HOUR_NS = 3_600_000_000_000
SECOND_NS = 1_000_000_000


def _frame() -> pl.DataFrame:
    """Three series with gaps, a null and rows in no order."""
    random = np.random.default_rng(4)
    rows = [
        (
            f"s{one}",
            f"t{one % 2}",
            "cpu",
            datetime(2026, 1, 1, hour, tzinfo=UTC),
            None if hour == 5 else random.random(),
        )
        for one in range(3)
        for hour in range(20)
        if random.random() < 0.8 or hour in {0, 5, 19}
    ]
    frame = pl.DataFrame(rows, schema=["series", "tenant", "resource", "timestamp", "value"], orient="row")
    return frame.sample(fraction=1.0, shuffle=True, seed=1)


def test_it_is_the_panel_of_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in parts from a file or from memory, every window lands where it belongs; missing stays missing."""
    monkeypatch.setattr(mapped_panel, "ROWS_AT_ONCE", 7)
    frame = _frame()
    frame.write_parquet(tmp_path / "series.parquet")
    expected = Panel.from_frame(frame, HOUR_NS, 24)
    for source in (frame, pl.scan_parquet(tmp_path / "series.parquet")):
        panel = map_panel(source, HOUR_NS, 24, tmp_path / "values.npy")
        assert is_mapped(panel)
        assert not is_mapped(expected)
        assert (panel.series, panel.tenants, panel.start_ns) == (expected.series, expected.tenants, expected.start_ns)
        np.testing.assert_array_equal(panel.values, expected.values)
    (tmp_path / "values.npy").unlink()
    np.testing.assert_array_equal(panel.until(10).values, expected.until(10).values)


def test_frames_that_are_no_panel_are_refused(tmp_path: Path) -> None:
    """Two values for one window, a wrong grid or no rows are errors, and no file is left behind."""
    frame, file = _frame(), tmp_path / "values.npy"
    with pytest.raises(ValueError, match="duplicate rows"):
        map_panel(pl.concat([frame, frame.head(1)]), HOUR_NS, 24, file)
    with pytest.raises(ValueError, match="grid of 7200 s"):
        map_panel(frame, 2 * HOUR_NS, 24, file)
    with pytest.raises(ValueError, match="no rows"):
        map_panel(frame.clear(), HOUR_NS, 24, file)
    assert not file.exists()


def test_batches_come_straight_from_a_frame(tmp_path: Path) -> None:
    """Lightning's data module takes a Polars frame of many series and leaves its values in the file."""
    series, windows = 2_000, 60
    frame = pl.DataFrame(
        {
            "series": np.repeat([f"s{row:05d}" for row in range(series)], windows),
            "tenant": "ada",
            "resource": "cpu",
            "timestamp": pl.Series(np.tile(np.arange(windows) * HOUR_NS, series)).cast(pl.Datetime("ns")),
            "value": np.arange(series * windows, dtype=np.float64),
        }
    )
    data = PanelDataModule.from_frame(frame.lazy(), HOUR_NS, 12, 6, tmp_path / "values.npy")
    assert is_mapped(data.panel)
    assert data.panel.values.shape == (series, windows)
    context, steps, _traits, _codes, target, weight = next(iter(data.train_dataloader()))
    assert len(context) == len(steps) == 256
    assert target.shape == weight.shape == (256, 6)


def test_windows_of_a_platform_are_the_series_it_serves(tmp_path: Path) -> None:
    """Training learns from the very numbers that forecasts on the server start from."""
    directory = platform_directory(tmp_path)
    panel = panel_of_directory(directory, DataConfiguration(window_s=1, season=6, windows=500, horizon=6))
    windows = History(directory / "metercast.db").windows(1, 0, panel.start_ns + panel.windows * SECOND_NS)
    expected = Panel.from_frame(all_series(windows, SECOND_NS), SECOND_NS, 6)
    assert panel.series == expected.series
    assert (panel.tenants, panel.resources) == (expected.tenants, expected.resources)
    assert panel.start_ns == expected.start_ns
    np.testing.assert_allclose(panel.values, expected.values, rtol=1e-12)


def test_windows_on_a_server_are_those_of_a_file(tmp_path: Path, postgresql_server: Server) -> None:
    """Training on a PostgreSQL database learns from its windows; one that is no platform's is told."""
    data = DataConfiguration(window_s=1, season=6, windows=500, horizon=6)
    url = postgresql_server.database()
    with pytest.raises(NoDataError, match="the PostgreSQL database cannot be read"):
        panel_of(tmp_path, data, url)
    fill(url)
    panel = panel_of(tmp_path, data, url)
    windows = History(url).windows(1, 0, panel.start_ns + panel.windows * SECOND_NS)
    expected = Panel.from_frame(all_series(windows, SECOND_NS), SECOND_NS, 6)
    assert panel.series == expected.series
    np.testing.assert_allclose(panel.values, expected.values, rtol=1e-12)
