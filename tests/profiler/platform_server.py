"""A server that takes the profiler's batches, answers as told, and keeps what it accepted."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.compute as pc
from metercast.event import COLUMNS_MEDIA_TYPE

from features.column_batches import batch_from_columns


class Server:
    """A real HTTP server that answers as told and keeps what it accepted by (producer, epoch, sequence)."""

    def __init__(self, port=0):
        self.answers = []
        self.batches = {}
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == COLUMNS_MEDIA_TYPE
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status = outer.answers.pop(0) if outer.answers else 202
                outer.requests += 1
                if status in (202, "accept and hang up"):
                    batch, rejected = batch_from_columns(body, time.time(), 100_000, 1 << 26)
                    assert rejected == []
                    outer.batches[batch.producer, batch.epoch, batch.sequence] = batch.rows
                if status == "accept and hang up":
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
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
