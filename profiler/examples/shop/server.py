"""A small web shop on a real HTTP server; its one word about metering is the mark on the checkout."""

import argparse
import contextlib
import html
import json
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from catalogue import Catalogue

try:
    from metercast import operation
except ImportError:  # the shop runs without the profiler as well

    def operation(_name):
        """Mark nothing."""
        return contextlib.nullcontext()


ATTEMPTS = 12


class Payments:
    """Client of the payment service; turned away, it tries again at once, which is the flaw in this shop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()

    def charge(self, order: str, total: int, customer: str) -> dict[str, object]:
        """Pay for an order."""
        for _ in range(ATTEMPTS):
            reply = self.ask({"order": order, "total": total, "customer": customer, "memo": "thank you " * 200})
            if reply["status"] == "paid":
                return reply
        raise RuntimeError(f"order {order} was not paid after {ATTEMPTS} attempts")

    def ask(self, request: dict[str, object]) -> dict[str, object]:
        """One request on this thread's connection."""
        stream = getattr(self._local, "stream", None)
        if stream is None:
            connection = socket.create_connection(("127.0.0.1", self._port))
            stream = self._local.stream = connection.makefile("rwb")
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        return json.loads(stream.readline())


class Handler(BaseHTTPRequestHandler):
    """Routes of the shop."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    catalogue: Catalogue
    payments: Payments

    def do_GET(self) -> None:
        """Pages and exports."""
        url = urlsplit(self.path)
        customer = self.headers.get("X-Customer", "guest")
        if url.path == "/search":
            rows = self.catalogue.search(parse_qs(url.query).get("q", [""])[0])
            items = "".join(
                f"<li><a href='/products/{n}'>{html.escape(name)}</a> {price / 100:.2f}" for n, name, price in rows
            )
            self.answer(f"<h1>{len(rows)} found</h1><ul>{items}</ul>".encode())
        elif url.path.startswith("/products/"):
            row = self.catalogue.product(int(url.path.rsplit("/", 1)[1]))
            self.answer(f"<h1>{html.escape(row[1])}</h1><p>{html.escape(row[3])}".encode() if row else b"gone")
        elif url.path == "/export":
            self.answer(self.catalogue.export(customer), "application/gzip")
        else:
            self.answer(b"nothing here", status=404)

    def do_POST(self) -> None:
        """Orders, and the switch that overloads the payment service."""
        document = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/checkout":
            with operation("checkout"):
                customer = self.headers.get("X-Customer", "guest")
                key, total = self.catalogue.order(customer, document["basket"])
                receipt = self.payments.charge(key, total, customer)
                self.catalogue.keep_receipt(key, receipt | {"total": total})
            self.answer(json.dumps({"order": key, "total": total}).encode(), "application/json")
        elif self.path == "/admin/overload":
            self.answer(json.dumps(self.payments.ask({"overloaded": document["on"]})).encode(), "application/json")
        else:
            self.answer(b"nothing here", status=404)

    def answer(self, body: bytes, kind: str = "text/html; charset=utf-8", status: int = 200) -> None:
        """Send a response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def main() -> None:
    """Serve until terminated; prints the port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    script = Path(__file__).with_name("payments.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        Handler.catalogue = Catalogue(options.directory)
        Handler.payments = Payments(int(service.stdout.readline()))
        server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
        server.daemon_threads = True
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(server.server_address[1], flush=True)
        server.serve_forever()
        service.stdin.close()


if __name__ == "__main__":
    main()
