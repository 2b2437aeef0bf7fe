"""Bytes that cross a socket, a file or SQLite are counted exactly, without a word in the program."""

from __future__ import annotations

from pathlib import Path

from tests.profiler.run_program import run_program, runs, total


def test_files_to_the_byte(tmp_path: Path) -> None:
    """Buffered, raw, text and descriptor calls count what reaches the kernel, once."""
    events = run_program(
        tmp_path,
        """
import os
from pathlib import Path
from metercast import operation
with operation("write"):
    Path("a.bin").write_bytes(b"x" * 100_000)
    with open("b.txt", "w", encoding="utf-8") as file:
        for _ in range(1_000):
            file.write("grün\\n")
    with open("c.bin", "wb", buffering=0) as file:
        file.write(b"y" * 77)
    descriptor = os.open("d.bin", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"z" * 33)
    os.close(descriptor)
with operation("read"):
    Path("a.bin").read_bytes()
    open("b.txt", encoding="utf-8").readlines()
with operation("nothing"):
    Path("a.bin").stat()
""",
    )
    assert total(events, "write", "DISK_WRITE", "diskBytes") == 100_000 + 6_000 + 77 + 33
    assert total(events, "read", "DISK_READ", "diskBytes") == 106_000
    assert total(events, "nothing", "DISK_READ", "diskBytes") == 0


def test_sockets_to_the_byte(tmp_path: Path) -> None:
    """Both ends of a connection count what they sent and received."""
    events = run_program(
        tmp_path,
        """
import socket, threading
from metercast import operation
server = socket.create_server(("127.0.0.1", 0))
def answer():
    connection, _ = server.accept()
    with operation("server"):
        data = b""
        while len(data) < 50_000:
            data += connection.recv(65_536)
        connection.sendall(b"r" * 1_234)
thread = threading.Thread(target=answer); thread.start()
with operation("client"):
    client = socket.create_connection(server.getsockname())
    client.sendall(b"q" * 50_000)
    got = 0
    while got < 1_234:
        got += len(client.recv(4_096))
thread.join()
""",
    )
    assert total(events, "client", "NETWORK_SEND", "networkBytes") == 50_000
    assert total(events, "client", "NETWORK_RECEIVE", "networkBytes") == 1_234
    assert total(events, "server", "NETWORK_RECEIVE", "networkBytes") == 50_000
    assert total(events, "server", "NETWORK_SEND", "networkBytes") == 1_234


def test_sqlite_reads_and_writes_are_seen(tmp_path: Path) -> None:
    """A committed insert writes at least the rows' own bytes, although SQLite does its own input and output."""
    events = run_program(
        tmp_path,
        """
import sqlite3
from metercast import operation
connection = sqlite3.connect("s.db")
connection.execute("CREATE TABLE t (x TEXT)")
with operation("insert"):
    connection.executemany("INSERT INTO t VALUES (?)", [("v" * 1_000,)] * 100)
    connection.commit()
""",
    )
    assert total(events, "insert", "DISK_WRITE", "diskBytes") >= 100_000


def test_requests_of_a_plain_web_server_are_operations(tmp_path: Path) -> None:
    """A server that knows nothing of metering is metered by route and by the user its header names."""
    events = run_program(
        tmp_path,
        """
import http.client, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5000"); self.end_headers()
        self.wfile.write(b"b" * 5000)
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for number in (17, 18, 19):
    client = http.client.HTTPConnection(*server.server_address)
    client.request("GET", f"/orders/{number}", headers={"X-Customer": "ada"})
    client.getresponse().read()
server.shutdown()
""",
        METERCAST_USER_HEADER="X-Customer",
    )
    assert runs(events, "GET /orders/{id}") == 3
    assert total(events, "GET /orders/{id}", "NETWORK_SEND", "networkBytes") > 15_000
    assert {event["userID"] for event in events if event["operationID"] == "GET /orders/{id}"} == {"ada"}
