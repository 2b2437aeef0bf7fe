"""Which database a command works on: that of a data directory, or a PostgreSQL server."""

from __future__ import annotations

import argparse
from pathlib import Path

from features.data_home import add_database_url, data_home
from features.database import Location, is_server


class NoDatabaseError(ValueError):
    """There is no database where the options point."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """--data and --database-url."""
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory")
    add_database_url(parser)


def location_of(args: argparse.Namespace) -> Location:
    """Where the tables are; raises NoDatabaseError for a directory without a database or a URL of another kind."""
    if args.database_url:
        try:
            is_server(args.database_url)
        except ValueError as error:
            raise NoDatabaseError(f"--database-url: {error}") from error
        return str(args.database_url)
    path: Path = args.data / "metercast.db"
    if not path.is_file():
        raise NoDatabaseError(f"no database {path}; `metercast serve --data` makes one")
    return path
