"""Peers of metered programs that count every byte on the wire: a forwarder before any server, and an HTTP server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPLY = b"r" * 300_000


class Forwarder:
    """Stands between a client and a server, TCP or Unix, and counts what each has sent; one for each operation."""

    def __init__(self, target: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.target, self.family = target, family
        self.from_client = self.from_server = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> tuple[int, int]:
        """Bytes (from the client, from the server) once all connections have ended."""
        for thread in self.connections:
            thread.join(20)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        return self.from_client, self.from_server

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(self.family)
                server.connect(self.target)
                for source, sink, name in ((client, server, "from_client"), (server, client, "from_server")):
                    thread = threading.Thread(target=self._pump, args=(source, sink, name), daemon=True)
                    self.connections.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                setattr(self, name, getattr(self, name) + len(data))
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(REPLY)))
        self.end_headers()
        self.wfile.write(REPLY)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        while size:
            size -= len(self.rfile.read(min(size, 1 << 16)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def http_server() -> tuple[ThreadingHTTPServer, Callable[[], None]]:
    """A server that answers GET with 300 kB and takes any POST, and what ends it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def end() -> None:
        server.shutdown()
        server.server_close()

    return server, end
