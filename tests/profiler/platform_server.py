"""A server that takes the profiler's batches, answers as told, and keeps what it accepted."""

import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.compute as pc
from metercast.event import COLUMNS_MEDIA_TYPE

from features.column_batches import batch_from_columns

HANG_S = 3.0
_held_ports = {}
"""Sockets that keep a server's port for it while it is away: another program's server would take the batches."""


def _hold(port):
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    port = holder.getsockname()[1]
    _held_ports[port] = holder
    return port


class Server:
    """A real HTTP server that answers as told and keeps what it accepted by (producer, epoch, sequence)."""

    def __init__(self, port=0):
        self.answers = []
        self.batches = {}
        self.requests = 0
        self.headers = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests += 1
                outer.headers = list(self.headers.items())
                outer.answer(self, body, outer.next_answer())

            def log_message(self, *_):
                pass

        self.port = port if port in _held_ports else _hold(port)
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next_answer(self):
        """A status, or what else happens: `accept and hang up`, `hang up`, `hang`, `slow`, or (status, headers)."""
        return self.answers.pop(0) if self.answers else 202

    def answer(self, handler, body, what):
        """Answer one request."""
        if what == "hang":
            time.sleep(HANG_S)
        if what == "slow":
            time.sleep(0.2)
        receipt = b""
        if what in (202, "accept and hang up", "slow"):
            receipt = json.dumps({"accepted": self.accept(handler, body), "duplicate": 0, "rejected": []}).encode()
        if what in ("accept and hang up", "hang up", "hang"):
            handler.close_connection = True
            return
        status, headers = what if isinstance(what, tuple) else (202 if what == "slow" else what, {})
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(receipt)))
        handler.end_headers()
        handler.wfile.write(receipt)

    def accept(self, handler, body):
        """Keep a batch under its key, and say how many events it has; a repetition must say the same."""
        assert handler.headers["Content-Type"] == COLUMNS_MEDIA_TYPE
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        batch, rejected = batch_from_columns(body, time.time(), 100_000, 1 << 26)
        assert rejected == [], rejected[:3]
        key = batch.producer, batch.epoch, batch.sequence
        assert self.batches.setdefault(key, batch.rows).equals(batch.rows), "one key, two batches"
        return batch.rows.num_rows

    def close(self):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    def total(self, column, operation=None, kind=None, meter=None):
        """Sum of a column over the rows of that operation, micro-operation type and meter; counts each batch once."""
        total = 0
        for rows in self.batches.values():
            chosen = pa.repeat(True, rows.num_rows)
            for name, value in (("operation_id", operation), ("micro_operation_type", kind), ("meter", meter)):
                if value is not None:
                    chosen = pc.and_(chosen, pc.equal(rows[name], value))
            total += pc.sum(rows.filter(chosen)[column]).as_py() or 0
        return total

    def gaps(self):
        """Numbers missing in the row of batches of each producer."""
        numbers = {}
        for producer, epoch, sequence in self.batches:
            numbers.setdefault((producer, epoch), set()).add(sequence)
        return {key: missing for key, got in numbers.items() if (missing := set(range(1, max(got) + 1)) - got)}
