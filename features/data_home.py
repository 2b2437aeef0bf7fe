"""Where a platform keeps its data, for every command that is not told otherwise."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def data_home() -> Path:
    """The data directory of the environment variable METERCAST_DATA, or else ``metercast-data`` in this folder."""
    return Path(os.environ.get("METERCAST_DATA") or "metercast-data")


def add_database_url(parser: argparse.ArgumentParser) -> None:
    """--database-url, for the commands that also work on a PostgreSQL server."""
    parser.add_argument(
        "--database-url",
        default=os.environ.get("METERCAST_DATABASE_URL"),
        help="PostgreSQL instead of the data directory's file (default: METERCAST_DATABASE_URL)",
    )
