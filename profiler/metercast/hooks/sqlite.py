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
_NAME = len("rchar: ")
"""The name of the first line's number; that of the second, wchar, is as long."""
_clock = time.perf_counter_ns
_OF_CURSOR = ("execute", "executemany", "executescript", "fetchone", "fetchmany", "fetchall", "__next__")
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
    counted_cursor = _counting_cursors(dbapi2, wrap)
    of_selects, of_all = counted_cursor(dbapi2.Cursor)
    blob_class = _counting(Blob, MOVING, wrap)
    classes: dict[type, type] = {}

    def counted(factory: type) -> type:
        known = classes.get(factory)
        if known is None:
            new_cursor = factory.cursor  # type: ignore[attr-defined]
            known = classes[factory] = _counting(factory, _OF_CONNECTION, wrap)

            def cursor(self: Any, factory: Any = of_selects) -> Any:
                is_plain = factory is of_selects or not isinstance(factory, type)
                return new_cursor(self, factory if is_plain else counted_cursor(factory)[0])

            def execute(self: Any, *args: Any) -> Any:
                return run(new_cursor(self, of_selects if _is_select(args) else of_all), *args)

            run = of_all.execute  # type: ignore[attr-defined]
            execute.__doc__ = factory.execute.__doc__  # type: ignore[attr-defined]
            known.cursor, known.execute = cursor, execute  # type: ignore[attr-defined]
            known.executemany = _shortcut("executemany", new_cursor, of_all)  # type: ignore[attr-defined]
            known.executescript = _shortcut("executescript", new_cursor, of_all)  # type: ignore[attr-defined]
            known.blobopen = blob_opener(known.blobopen, blob_class)  # type: ignore[attr-defined]
            if sys.version_info < (3, 13):  # later ones warn of a connection that is not closed, and are to go on so
                known.__del__ = _closing(factory, dbapi2.Error)  # type: ignore[attr-defined]
        return known

    return counted


def _counting(base: type, names: tuple[str, ...], wrap: Callable[[Any], Any]) -> type:
    members = {name: wrap(getattr(base, name)) for name in names if hasattr(base, name)}
    return type(base.__name__, (base,), {**members, "__module__": base.__module__, "__qualname__": base.__qualname__})


def _counting_cursors(dbapi2: Any, wrap: Callable[[Any], Any]) -> Callable[[type], tuple[type, type]]:
    """What makes the two counting classes of a class of cursors: of one that has run SELECTs only, and of any other.

    Ending a SELECT moves nothing, so the first is not counted when it is closed or forgotten; the first other statement
    makes it the second.
    """
    classes: dict[type, tuple[type, type]] = {}

    def counted(base: type) -> tuple[type, type]:
        known = classes.get(base)
        if known is None:
            of_selects, of_all = _counting(base, _OF_CURSOR, wrap), _counting(base, (*_OF_CURSOR, "close"), wrap)
            of_all.__del__ = _closing(base, dbapi2.Error)  # type: ignore[attr-defined]
            for name in ("execute", "executemany"):
                setattr(of_selects, name, _becoming(name, of_all))
            known = classes[base] = classes[of_selects] = classes[of_all] = of_selects, of_all
        return known

    return counted


def _becoming(name: str, of_all: type) -> Callable[..., Any]:
    """A method that runs a statement and makes the cursor one of any statements, unless it is a SELECT."""
    method = getattr(of_all, name)

    def call(self: Any, *args: Any) -> Any:
        if not _is_select(args):
            self.__class__ = of_all
        return method(self, *args)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


def _is_select(args: tuple[Any, ...]) -> bool:
    return bool(args) and isinstance(args[0], str) and args[0][:6].lower() == "select"


def _shortcut(name: str, new_cursor: Callable[[Any, type], Any], cursor_class: type) -> Callable[..., Any]:
    """A method of connections that is one of a new cursor's, as the standard library has it."""
    method = getattr(cursor_class, name)

    def call(self: Any, *args: Any) -> Any:
        return method(new_cursor(self, cursor_class), *args)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


def _closing(base: type, errors: type[Exception]) -> Callable[[Any], None]:
    """Ends a statement or a connection that nobody closed: SQLite finishes its writing then."""
    before = getattr(base, "__del__", None)

    def finish(self: Any) -> None:
        if before is not None:
            before(self)
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
                earlier_read, earlier_written, _ = before.split(b"\n", 2)
                read, written, _ = now.split(b"\n", 2)
                if written != earlier_written:
                    after(_WRITE, started_ns, 0, 0, int(written[_NAME:]) - int(earlier_written[_NAME:]))
                    started_ns = _clock()
                read_bytes = int(read[_NAME:]) - int(earlier_read[_NAME:]) - own_bytes
                if read_bytes > 0:
                    after(_READ, started_ns, 0, 0, read_bytes)

        call.__name__, call.__doc__ = original.__name__, original.__doc__
        return call

    return wrap
