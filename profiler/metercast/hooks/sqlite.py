"""Counts what SQLite reads and writes, from the kernel's own counters of the thread it runs in."""

from __future__ import annotations

import os
import sys
import threading
import time

from metercast.engine import CODE
from metercast.hooks.sqlite_blobs import MOVING, Blob, blob_opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.engine import Engine

_READ, _WRITE = CODE["DISK_READ"], CODE["DISK_WRITE"]
_FIELDS_BYTES = 64
"""As much of the kernel's text as has the bytes read and written, whatever their length."""
_clock = time.perf_counter_ns
_OF_CURSOR = ("executemany", "executescript", "fetchone", "fetchmany", "fetchall", "__next__")
# Connection.execute and its kin are made anew from the cursor's, which are counted.
_SHORTCUTS = ("execute", "executemany", "executescript")
_OF_CONNECTION = ("commit", "rollback", "close", "__exit__", "backup", "serialize", "deserialize", "blobopen")


class IoCounter:
    """The kernel's count of what one thread reads and writes by system calls; below 0 where /proc does not tell."""

    __slots__ = ("descriptor", "own_bytes")

    def __init__(self) -> None:
        self.own_bytes = 0
        try:
            self.descriptor = os.open("/proc/thread-self/io", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.descriptor = -1

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _thread_local() -> Any:
    """A place for the counter of each thread."""
    local = threading.local()

    def forget() -> None:  # in a forked child: the descriptor tells of a thread of the parent
        local.__dict__.clear()

    os.register_at_fork(after_in_child=forget)
    return local


def install(dbapi2: Any, engine: Engine) -> None:
    """Have `sqlite3.connect` return connections and cursors whose calls are counted."""
    import sqlite3 as package

    sqlite3: Any = package
    wrap = _wrapper(engine, getattr(os.pread, "__wrapped__", os.pread))
    counted = _counting_connections(dbapi2, wrap)
    connect = wrap(dbapi2.connect)  # opening a database reads its header

    def connecting(*args: Any, **kwargs: Any) -> Any:
        factory = kwargs.get("factory") or (args[5] if len(args) > 5 else dbapi2.Connection)
        if isinstance(factory, type):
            factory = counted(factory)
        if len(args) > 5:
            return connect(*args[:5], factory, *args[6:], **kwargs)
        return connect(*args, **kwargs | {"factory": factory})

    connecting.__doc__ = connect.__doc__
    dbapi2.connect = sqlite3.connect = connecting


def _counting_connections(dbapi2: Any, wrap: Callable[[Any], Any]) -> Callable[[type], type]:
    """What makes the counting class of a class of connections, each once."""
    cursor_class = _counting_cursor(dbapi2, wrap)
    blob_class = _counting(Blob, MOVING, wrap)
    classes: dict[type, type] = {}

    def counted(factory: type) -> type:
        known = classes.get(factory)
        if known is None:
            factory_cursor = factory.cursor  # type: ignore[attr-defined]
            known = classes[factory] = _counting(factory, _OF_CONNECTION, wrap)

            def cursor(self: Any, factory: Any = cursor_class) -> Any:
                return factory_cursor(self, factory)

            def new_cursor(self: Any) -> Any:
                return factory_cursor(self, cursor_class)

            known.cursor = cursor  # type: ignore[attr-defined]
            known.blobopen = blob_opener(known.blobopen, blob_class)  # type: ignore[attr-defined]
            for name in _SHORTCUTS:
                setattr(known, name, _shortcut(name, new_cursor, getattr(cursor_class, name)))
            if sys.version_info < (3, 13):  # later ones warn of a connection that is not closed, and are to go on so
                known.__del__ = _closing(dbapi2.Error)  # type: ignore[attr-defined]
        return known

    return counted


def _counting(base: type, names: tuple[str, ...], wrap: Callable[[Any], Any]) -> type:
    members = {name: wrap(getattr(base, name)) for name in names if hasattr(base, name)}
    return type(base.__name__, (base,), {**members, "__module__": base.__module__, "__qualname__": base.__qualname__})


def _counting_cursor(dbapi2: Any, wrap: Callable[[Any], Any]) -> type:
    """The counting class of cursors. Closing one that is at a SELECT moves nothing, so it is not counted."""
    cursor: Any = _counting(dbapi2.Cursor, _OF_CURSOR, wrap)
    execute, plain_close = wrap(dbapi2.Cursor.execute), dbapi2.Cursor.close
    close = wrap(plain_close)

    def executing(self: Any, *args: Any) -> Any:
        self._metercast_selects = bool(args) and isinstance(args[0], str) and args[0][:6].lower() == "select"
        return execute(self, *args)

    def closing(self: Any) -> None:
        (plain_close if self._metercast_selects else close)(self)

    executing.__name__, executing.__doc__ = "execute", execute.__doc__
    closing.__name__, closing.__doc__ = "close", plain_close.__doc__
    cursor._metercast_selects = False
    cursor.execute, cursor.close, cursor.__del__ = executing, closing, _closing(dbapi2.Error)
    return cursor  # type: ignore[no-any-return]


def _shortcut(name: str, new_cursor: Callable[[Any], Any], method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *args: Any) -> Any:
        return method(new_cursor(self), *args)

    call.__name__ = name
    return call


def _closing(errors: type[Exception]) -> Callable[[Any], None]:
    """Ends a statement or a connection that nobody closed: SQLite finishes its writing then."""

    def finish(self: Any) -> None:
        try:  # noqa: SIM105 -- three frames less for every statement
            self.close()
        except (errors, AttributeError):  # of another thread, or never set up
            pass

    return finish


def _wrapper(engine: Engine, pread: Callable[[int, int, int], bytes]) -> Callable[[Any], Any]:
    active, after, local = engine.current.get, engine.after_call, _thread_local()

    def wrap(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if active() is None:
                return original(*args, **kwargs)
            try:
                counter = local.counter
            except AttributeError:
                counter = local.counter = IoCounter()
            descriptor, own_bytes = counter.descriptor, counter.own_bytes
            if descriptor < 0:
                return original(*args, **kwargs)
            before = pread(descriptor, _FIELDS_BYTES, 0)
            counter.own_bytes += len(before)
            started_ns = _clock()
            try:
                return original(*args, **kwargs)
            finally:
                now = pread(descriptor, _FIELDS_BYTES, 0)
                own_bytes = counter.own_bytes - own_bytes  # the counters were read themselves, by calls inside this too
                counter.own_bytes += len(now)
                _, earlier_read, _, earlier_written, _ = before.split(None, 4)
                _, read, _, written, _ = now.split(None, 4)
                if written != earlier_written:
                    after(_WRITE, started_ns, 0, 0, int(written) - int(earlier_written))
                    started_ns = _clock()
                read_bytes = int(read) - int(earlier_read) - own_bytes
                if read_bytes > 0:
                    after(_READ, started_ns, 0, 0, read_bytes)

        call.__name__, call.__doc__ = original.__name__, original.__doc__
        return call

    return wrap
