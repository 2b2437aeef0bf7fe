"""Counts what TLS sockets carry, as the program sees it; record headers and handshakes are below this level."""

from __future__ import annotations

import time

from metercast.engine import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine

_RECEIVE, _SEND = CODE["NETWORK_RECEIVE"], CODE["NETWORK_SEND"]
_clock = time.perf_counter_ns


def install(ssl: ModuleType, engine: Engine) -> None:
    """Wrap the methods of `ssl.SSLSocket` that move bytes through OpenSSL."""
    active, after = engine.current.get, engine.after_call
    send, read = ssl.SSLSocket.send, ssl.SSLSocket.read

    def sending(self: Any, data: Any, flags: int = 0) -> Any:
        if active() is None or self._sslobj is None:
            return send(self, data, flags)
        started_ns = _clock()
        size = send(self, data, flags)
        after(_SEND, started_ns, network=size)
        return size

    def reading(self: Any, len: int = 1024, buffer: Any = None) -> Any:
        if active() is None:
            return read(self, len, buffer)
        started_ns = _clock()
        result = read(self, len, buffer)
        after(_RECEIVE, started_ns, network=result if buffer is not None else memoryview(result).nbytes)
        return result

    sending.__name__, reading.__name__ = "send", "read"
    ssl.SSLSocket.send, ssl.SSLSocket.read = sending, reading
