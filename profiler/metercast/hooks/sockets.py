"""Counts what sockets send and receive, and finds the operation that bytes read ahead of it belong to.

A server reads a request before it can know the operation. Bytes read on an accepted connection outside of any operation
are held, and go to the operation that answers on the same connection.
"""

from __future__ import annotations

import time

from metercast.engine import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine
    from metercast.execution import Execution

_RECEIVE, _SEND = CODE["NETWORK_RECEIVE"], CODE["NETWORK_SEND"]
_clock = time.perf_counter_ns

# (method of socket.socket, how its result and arguments tell the bytes: None where the result is their number)
SENDERS: tuple[tuple[str, Callable[[Any, Any], int] | None], ...] = (
    ("sendall", lambda _result, args: memoryview(args[0]).nbytes),
    ("sendto", None),
    ("sendmsg", None),
)
RECEIVERS: tuple[tuple[str, Callable[[Any], int]], ...] = (
    ("recv_into", int),
    ("recvfrom", lambda result: len(result[0])),
    ("recvfrom_into", lambda result: result[0]),
    ("recvmsg", lambda result: len(result[0])),
    ("recvmsg_into", lambda result: result[0]),
)


class Connections:
    """Which bytes of which descriptor wait for an owner, and which execution last sent on it."""

    __slots__ = ("held", "senders")

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.senders: dict[int, Execution] = {}

    def forget(self, descriptor: int) -> int:
        """Drop a closed descriptor; returns the bytes nobody claimed."""
        self.senders.pop(descriptor, None)
        return self.held.pop(descriptor, 0)


def install(socket: ModuleType, engine: Engine) -> None:
    """Wrap the methods of `socket.socket` that move bytes, accept or close."""
    connections = Connections()
    kind: Any = socket.socket
    kind.send = _named(_wrap_plain_send(kind.send, engine, connections), kind.send)
    kind.recv = _named(_wrap_plain_receive(kind.recv, engine, connections), kind.recv)
    for name, size_of in SENDERS:
        if hasattr(kind, name):
            original = getattr(kind, name)
            setattr(kind, name, _named(_wrap_send(original, size_of, engine, connections), original))
    for name, size_of_result in RECEIVERS:
        if hasattr(kind, name):
            original = getattr(kind, name)
            setattr(kind, name, _named(_wrap_receive(original, size_of_result, engine, connections), original))
    _wrap_accept_and_close(socket, engine, connections)


def _named(method: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    method.__name__, method.__doc__ = original.__name__, original.__doc__
    return method


def _wrap_plain_send(original: Callable[..., Any], engine: Engine, connections: Connections) -> Callable[..., Any]:
    """`send`, through which asyncio and most of the standard library go: without collecting arguments."""
    active, after = engine.current.get, engine.after_call
    senders, held = connections.senders, connections.held

    def send(self: Any, data: Any, flags: int = 0, /) -> Any:
        execution = active()
        if execution is None:
            return original(self, data, flags)
        if not execution.is_root:
            descriptor = self.fileno()
            senders[descriptor] = execution
            if held.get(descriptor):
                _claim_held(engine, execution, connections, descriptor)
        started_ns = _clock()
        size = original(self, data, flags)
        after(_SEND, started_ns, 0, size)
        return size

    return send


def _wrap_send(
    original: Callable[..., Any], size_of: Callable[[Any, Any], int] | None, engine: Engine, connections: Connections
) -> Callable[..., Any]:
    active, after = engine.current.get, engine.after_call

    def call(self: Any, *args: Any) -> Any:
        execution = active()
        if execution is None:
            return original(self, *args)
        if not execution.is_root:
            descriptor = self.fileno()
            connections.senders[descriptor] = execution
            if connections.held.get(descriptor):
                _claim_held(engine, execution, connections, descriptor)
        started_ns = _clock()
        result = original(self, *args)
        after(_SEND, started_ns, 0, result if size_of is None else size_of(result, args))
        return result

    return call


def _claim_held(engine: Engine, execution: Execution, connections: Connections, descriptor: int) -> None:
    """The bytes read ahead on this connection belong to the operation that answers."""
    size, connections.held[descriptor] = connections.held[descriptor], 0
    engine.claim(execution, _RECEIVE, size)


def _wrap_plain_receive(original: Callable[..., Any], engine: Engine, connections: Connections) -> Callable[..., Any]:
    """`recv`, as `_wrap_plain_send` is of `send`."""
    active, after = engine.current.get, engine.after_call

    def recv(self: Any, bufsize: int, flags: int = 0, /) -> Any:
        execution = active()
        started_ns = _clock()
        data = original(self, bufsize, flags)
        size = len(data)
        if execution is None or execution.is_root or not execution.is_open:
            size = _held_back(engine, connections, self.fileno(), size)
        if execution is not None:
            after(_RECEIVE, started_ns, 0, size)
        return data

    return recv


def _wrap_receive(
    original: Callable[..., Any], size_of: Callable[[Any], int], engine: Engine, connections: Connections
) -> Callable[..., Any]:
    active, after = engine.current.get, engine.after_call

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        execution = active()
        started_ns = _clock()
        result = original(self, *args, **kwargs)
        size = size_of(result)
        if execution is None or execution.is_root or not execution.is_open:
            size = _held_back(engine, connections, self.fileno(), size)
        if execution is not None:
            after(_RECEIVE, started_ns, 0, size)
        return result

    return call


def _held_back(engine: Engine, connections: Connections, descriptor: int, size: int) -> int:
    """Bytes received for an operation that is not known, or not current: what of them is not held or claimed."""
    sender = connections.senders.get(descriptor)
    if sender is not None and sender.is_open:
        engine.claim(sender, _RECEIVE, size)
        return 0
    if descriptor in connections.held:
        connections.held[descriptor] += size
        return 0
    return size


def _wrap_accept_and_close(socket: ModuleType, engine: Engine, connections: Connections) -> None:
    accept, real_close, detach = socket.socket.accept, socket.socket._real_close, socket.socket.detach

    def accepting(self: Any) -> Any:
        connection, address = accept(self)
        connections.held[connection.fileno()] = 0
        return connection, address

    def closing(self: Any, *args: Any) -> Any:
        unclaimed = connections.forget(self.fileno())
        execution = engine.current.get()
        if unclaimed and execution is not None:
            engine.claim(execution, _RECEIVE, unclaimed)
        return real_close(self, *args)

    def detaching(self: Any) -> Any:
        connections.senders.pop(self.fileno(), None)
        return detach(self)

    for method, original in ((accepting, accept), (closing, real_close), (detaching, detach)):
        method.__name__, method.__doc__ = original.__name__, original.__doc__
    socket.socket.accept, socket.socket._real_close, socket.socket.detach = accepting, closing, detaching
