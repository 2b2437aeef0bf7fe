"""Usage comes from Parquet, CSV and JSON alike, and bad files are refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.usage_files import UsageFileError, read_series, read_usage
from features.windows import aggregate
from tests.features.events import batch, event

EVENTS = [event(-3.0, cpuCycles=5), event(-2.0, "bo", diskBytes=9, kind="DISK_READ")]


def test_events_and_windows_of_every_kind_give_the_same(tmp_path: Path) -> None:
    """The same usage in five files is the same usage."""
    frame = pl.DataFrame(pl.from_arrow(batch(EVENTS).rows))
    windows = aggregate(frame, 1_000_000_000)
    frame.write_parquet(tmp_path / "events.parquet")
    windows.write_parquet(tmp_path / "windows.parquet")
    windows.write_csv(tmp_path / "windows.csv")
    (tmp_path / "events.json").write_text(json.dumps(EVENTS))
    (tmp_path / "events.ndjson").write_text("\n".join(json.dumps(one) for one in EVENTS))
    for path in sorted(tmp_path.iterdir()):
        assert_frame_equal(read_usage(path), windows)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.parquet", None, "does not exist"),
        ("usage.txt", "x", "not known"),
        ("usage.json", "{", "cannot be read"),
        ("usage.csv", "a,b\n1,2\n", "neither"),
        ("usage.json", json.dumps([event() | {"resourceUsage": {"diskBytes": -4}}]), "row 0"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """The message has the file and what is wrong."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageFileError, match=message) as caught:
        read_usage(tmp_path / name)
    assert name in str(caught.value)


def test_a_table_of_series_needs_its_columns(tmp_path: Path) -> None:
    """A file without values is no table of series."""
    pl.DataFrame({"series": ["a"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageFileError, match="lacks tenant, resource, timestamp, value"):
        read_series(tmp_path / "t.parquet")
