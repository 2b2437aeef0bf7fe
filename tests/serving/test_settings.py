"""Settings: their table, where they come from, and what is refused; and logs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.logs import JsonFormatter
from serving.settings import Settings, from_environment, table

README = Path(__file__).parents[2] / "serving" / "README.md"


def test_readme_has_the_table() -> None:
    """The documentation is the table that the code reads."""
    assert table() in README.read_text(encoding="utf-8")


def test_environment_gives_settings() -> None:
    """METERCAST_* of known names are taken, lists as text, others left alone."""
    found = from_environment({"METERCAST_PORT": "81", "METERCAST_WINDOWS_S": "5, 60", "METERCAST_OTHER": "x"})
    assert found == {"port": "81", "windows_s": "5, 60"}
    settings = Settings.model_validate(found)
    assert (settings.port, settings.windows_s) == (81, (5, 60))


def test_uneven_windows_are_refused() -> None:
    """Each window length must be a multiple of the shortest."""
    with pytest.raises(ValidationError, match="multiples of the shortest"):
        Settings(windows_s=(2, 5))


def test_log_lines_are_json_without_keys() -> None:
    """A line has what the call gave, and never the text of a key."""
    record = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": "key %s", "args": (f"mc_{'a' * 12}_bb",)})
    record.request_id = "r1"
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "key mc_..."
    assert line["request_id"] == "r1"
