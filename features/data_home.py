"""Where a platform keeps its data, for every command that is not told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def data_home() -> Path:
    """The data directory of the environment variable METERCAST_DATA, or else ``metercast-data`` in this folder."""
    return Path(os.environ.get("METERCAST_DATA") or "metercast-data")
