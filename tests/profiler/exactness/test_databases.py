"""Databases: psycopg against a real PostgreSQL, and SQLite, compared with the wire and with the kernel's counters."""

from __future__ import annotations

import socket

import pytest

from .peers import Forwarder

POSTGRESQL = """
import asyncio, sys
import psycopg
from metercast import operation
sync, asynchronous, copy = (
    f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable gssencmode=disable"
    for port in sys.argv[1:4]
)
with operation("sync"), psycopg.connect(sync) as connection:
    connection.execute("create temporary table t (n int, b bytea)")
    with connection.cursor() as cursor:
        cursor.executemany("insert into t values (%s, %s)", [(n, b"x" * 1000) for n in range(200)])
        assert cursor.execute("select sum(length(b)) from t").fetchone()[0] == 200_000
        assert len(cursor.execute("select * from t").fetchall()) == 200
with operation("copy"), psycopg.connect(copy) as connection, connection.cursor() as cursor:
    cursor.execute("create temporary table t (n int, b text)")
    with cursor.copy("copy t from stdin") as rows:
        for n in range(2000): rows.write_row((n, "y" * 100))
    with cursor.copy("copy t to stdout") as rows:
        assert sum(len(bytes(part)) for part in rows) > 200_000
async def main():
    with operation("async"):
        async with await psycopg.AsyncConnection.connect(asynchronous) as connection:
            cursor = await connection.execute("select repeat('z', 100000)")
            assert len((await cursor.fetchone())[0]) == 100_000
asyncio.run(main())
"""


def test_psycopg_is_billed_what_crossed_the_wire(metered, postgresql_server):
    """Statements, COPY and asyncio through libpq: the compiled engine bills both directions to the byte."""
    pytest.importorskip("psycopg")
    names = ("sync", "async", "copy")
    peers = {name: Forwarder(str(postgresql_server.socket()), socket.AF_UNIX) for name in names}
    run = metered(POSTGRESQL, *(peers[name].port for name in names))
    wire = {name: peer.close() for name, peer in peers.items()}
    billed = {
        name: (run.total("networkBytes", name, "NETWORK_SEND"), run.total("networkBytes", name, "NETWORK_RECEIVE"))
        for name in names
    }
    assert wire["sync"][0] > 200_000
    assert wire["copy"][1] > 200_000
    if run.engine == "python":
        wire = dict.fromkeys(names, (0, 0))  # libpq calls the kernel itself, below Python
    assert billed == wire


SQLITE = """
import sqlite3
from metercast import operation
def fill(connection):
    connection.execute("create table t (n integer primary key, b blob)")
    connection.executemany("insert into t values (?, ?)", ((n, b"x" * 1500) for n in range(300)))
    connection.commit()
def journal(): fill(sqlite3.connect("journal.db"))
def wal():
    connection = sqlite3.connect("wal.db")
    connection.execute("pragma journal_mode = wal")
    fill(connection)
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
def query():
    with sqlite3.connect("journal.db") as connection:
        cursor = connection.cursor()
        assert cursor.execute("select count(*), sum(length(b)) from t").fetchone() == (300, 450_000)
        assert len(list(connection.execute("select b from t where n % 7 = 0"))) == 43
        connection.execute("delete from t where n < 100")
def script():
    with sqlite3.connect("script.db") as connection:
        connection.executescript("create table a (x); insert into a values (zeroblob(50000)); vacuum;")
def backup():
    with sqlite3.connect("journal.db") as source, sqlite3.connect("copy.db") as target: source.backup(target)
def blobs():
    with sqlite3.connect("journal.db") as connection:
        with connection.blobopen("t", "b", 150) as blob:
            blob.write(b"y" * 700); blob.seek(0); assert len(blob.read()) == 1500
            blob[3:5] = b"ab"; assert (blob[3], len(blob), isinstance(blob, sqlite3.Blob)) == (97, 1500, True)
def left_open():
    connection = sqlite3.connect("wal.db")
    connection.execute("insert into t values (1000, 'left')")
    connection.commit()
    rows = connection.execute("select * from t")
    next(rows)
class Cursor(sqlite3.Cursor):
    ended = 0
    def execute(self, *args): return super().execute(*args)
    def __del__(self): Cursor.ended += 1
def own_cursors():
    connection = sqlite3.connect("journal.db", isolation_level=None)
    cursor = connection.cursor(Cursor)
    assert isinstance(cursor, Cursor) and isinstance(connection.cursor(factory=Cursor), Cursor)
    assert cursor.execute("select sum(length(b)) from t").fetchone()[0] == 300_000
    assert len(cursor.execute("insert into t values (5000, 'a'), (5001, 'b') returning n").fetchmany(size=1)) == 1
    del cursor  # in the midst of a statement that writes
    assert Cursor.ended == 2
def used_again():
    connection = sqlite3.connect("journal.db", isolation_level=None)
    cursor = connection.execute("select n from t where n = 150")
    assert cursor.fetchone() == (150,)
    assert next(cursor.execute("insert into t values (6000, 'a'), (6001, 'b') returning n")) == (6000,)
    del cursor
"""


def test_sqlite_is_billed_what_the_kernel_counted(measured, tmp_path):
    """Rollback journal, WAL, queries, scripts, backup and blobs: reads and writes as /proc tells, to the byte.

    The kernel is asked in an unmetered run, because the Python engine reads the same counters in between.
    """
    names = ("journal", "wal", "query", "script", "backup", "blobs", "left_open", "own_cursors", "used_again")
    kernel = measured(SQLITE, names, METERCAST_OFF="1").kernel
    for database in tmp_path.glob("*.db*"):
        database.unlink()
    assert all(read or written for read, written in kernel.values())
    assert measured(SQLITE, names).billed == kernel
