"""A payment service: one JSON line in, one JSON line out, over TCP; it can be told to be overloaded."""

import argparse
import hashlib
import json
import socketserver
import sys
import threading

overloaded = threading.Event()
_attempts: dict[str, int] = {}
GIVES_IN_AFTER = 9


class Handler(socketserver.StreamRequestHandler):
    """Answers charges; while overloaded it turns each away several times before it takes it."""

    def handle(self) -> None:
        """Serve one connection until the client hangs up."""
        for line in self.rfile:
            request = json.loads(line)
            self.wfile.write(json.dumps(self.answer(request)).encode() + b"\n")

    def answer(self, request: dict[str, object]) -> dict[str, object]:
        """The reply to one request."""
        if "overloaded" in request:
            (overloaded.set if request["overloaded"] else overloaded.clear)()
            return {"status": "ok"}
        order = str(request["order"])
        if overloaded.is_set():
            _attempts[order] = _attempts.get(order, 0) + 1
            if _attempts[order] <= GIVES_IN_AFTER:
                return {"status": "busy", "detail": "try again " * 100}
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        return {"status": "paid", "receipt": digest}


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serve until the standard input ends, which is when whoever started this is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    server = Server(("127.0.0.1", parser.parse_args().port), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
