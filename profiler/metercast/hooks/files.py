"""Counts what files read and write: below the buffers of `open`, and through the descriptor functions of `os`."""

from __future__ import annotations

import builtins
import functools
import os
import stat
import sys
import time

from metercast.engine import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Literal

    from metercast.engine import Engine

_DISK = (CODE["DISK_READ"], CODE["DISK_WRITE"], "disk")
_NETWORK = (CODE["NETWORK_RECEIVE"], CODE["NETWORK_SEND"], "network")
_MEMORY = (CODE["MEMORY_READ"], CODE["MEMORY_WRITE"], "memory")
_DISK_READ = _DISK[0]
_FORMAT = 0o170000  # of a mode, as inode(7) has it
_OTHER_KINDS = {stat.S_IFBLK: _DISK, stat.S_IFDIR: _DISK, stat.S_IFSOCK: _NETWORK}
_clock = time.perf_counter_ns

READERS = ("read", "pread", "readv", "preadv")
WRITERS = ("write", "pwrite", "writev", "pwritev")


def install(io: Any, engine: Engine) -> None:
    """Replace `open` by one that builds on a counting raw file, and wrap the functions of `os`."""
    import _io

    raw_file = _counting_file(io, engine)
    opener = _opener(io, raw_file, io.open)
    builtins.open = opener
    modules: tuple[Any, ...] = (io, _io)
    for module in modules:
        module.open = opener
    io.FileIO = raw_file
    for name in READERS:
        if hasattr(os, name):
            setattr(os, name, _wrap_descriptor_call(getattr(os, name), engine, is_write=False))
    for name in WRITERS:
        if hasattr(os, name):
            setattr(os, name, _wrap_descriptor_call(getattr(os, name), engine, is_write=True))
    for name in ("sendfile", "copy_file_range"):
        if hasattr(os, name):
            setattr(os, name, _wrap_copy(getattr(os, name), engine, out_first=name == "sendfile"))


def _counting_file(io: ModuleType, engine: Engine) -> type:
    active, after = engine.current.get, engine.after_call
    base: Any = io.FileIO
    read, readall = base.read, base.readall

    class FileIO(base):  # type: ignore[misc]
        """The raw file of the standard library, counting bytes as they cross to the kernel."""

        _metercast_kind: tuple[int, int, str] | None = None  # asked for when the first bytes cross

        def read(self, size: Any = -1) -> Any:
            if size is None or size < 0:
                return self.readall()
            if active() is None:
                return read(self, size)
            kind = self._metercast_kind or _learn_kind(self)
            started_ns = _clock()
            data = read(self, size)
            after(kind[0], started_ns, **{kind[2]: len(data or b"")})
            return data

        def readall(self) -> Any:
            if active() is None:
                return readall(self)
            kind = self._metercast_kind or _learn_kind(self)
            started_ns = _clock()
            data = readall(self)
            size = len(data or b"")
            if kind is _DISK:
                after(_DISK_READ, started_ns, 0, 0, size)
            else:
                after(kind[0], started_ns, **{kind[2]: size})
            return data

    members: Any = FileIO
    members.readinto = _moving(base.readinto, engine, is_write=False)
    members.write = _moving(base.write, engine, is_write=True)
    FileIO.__module__, FileIO.__qualname__ = "_io", "FileIO"
    return FileIO


def _moving(original: Callable[..., Any], engine: Engine, is_write: bool) -> Callable[..., Any]:
    """A method of raw files that moves bytes to or from a buffer and returns how many, counting them."""
    active, after = engine.current.get, engine.after_call
    place: Literal[0, 1] = 1 if is_write else 0
    disk_code = _DISK[place]

    def call(self: Any, buffer: Any, /) -> Any:
        if active() is None:
            return original(self, buffer)
        kind = self._metercast_kind or _learn_kind(self)
        started_ns = _clock()
        size = original(self, buffer)
        if kind is _DISK:
            after(disk_code, started_ns, 0, 0, size or 0)
        else:
            after(kind[place], started_ns, **{kind[2]: size or 0})
        return size

    call.__name__, call.__doc__ = original.__name__, original.__doc__
    return call


def _learn_kind(raw: Any) -> tuple[int, int, str]:
    """The kind of a raw file, asked for before it is used: another thread may close it meanwhile."""
    kind: tuple[int, int, str] = kind_of(raw.fileno())
    raw._metercast_kind = kind
    return kind


def _opener(io: ModuleType, raw_file: type, original: Callable[..., Any]) -> Callable[..., Any]:
    """Build `open`: the layers of the standard library's own, as its documentation gives them, on our raw file."""
    raw_mode_of, default_size = functools.lru_cache(256)(_raw_mode), io.DEFAULT_BUFFER_SIZE
    layers = {"+": io.BufferedRandom, "r": io.BufferedReader, "w": io.BufferedWriter}

    def open(
        file: Any,
        mode: Any = "r",
        buffering: Any = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """Open a file; see `io.open`."""
        is_text_option_given = encoding is not None or errors is not None or newline is not None
        is_plain = type(mode) is str and isinstance(buffering, int)
        raw_mode, layer = raw_mode_of(mode, buffering == 0, is_text_option_given) if is_plain else ("", "")
        if not raw_mode:
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)  # its own errors
        raw = result = raw_file(file, raw_mode, closefd, opener)
        try:
            if buffering == 0:
                return raw
            size = buffering if buffering > 1 else getattr(raw, "_blksize", default_size)
            result = buffer = layers[layer](raw, size if size > 1 else default_size)
            if "b" in mode:
                return buffer
            is_line_buffered = buffering == 1 or (buffering < 0 and raw.isatty())
            if encoding is None and sys.flags.warn_default_encoding:
                encoding = io.text_encoding(encoding)
            result = text = io.TextIOWrapper(buffer, encoding, errors, newline, is_line_buffered)
            text.mode = mode
            return text
        except BaseException:
            result.close()
            raise

    return open


def _raw_mode(mode: str, is_unbuffered: bool, is_text_option_given: bool) -> tuple[str, str]:
    """The mode of the raw file and the letter of its buffer; empty for arguments that `io.open` would complain of."""
    letters = set(mode)
    if len(letters) != len(mode) or not letters <= set("rwaxbt+") or len(letters & set("rwax")) != 1:
        return "", ""
    is_plain = ("t" not in letters and not is_text_option_given) if "b" in letters else not is_unbuffered
    layer = "+" if "+" in letters else "r" if "r" in letters else "w"
    return mode.replace("b", "").replace("t", "") if is_plain else "", layer


def kind_of(descriptor: int) -> tuple[int, int, str]:
    """(code of reading, code of writing, resource) of a descriptor: files and block devices are disk, sockets network.

    Pipes, terminals and character devices move bytes through memory only.
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except (OSError, TypeError):
        return _DISK
    if mode & _FORMAT == stat.S_IFREG:
        return _DISK
    return _OTHER_KINDS.get(mode & _FORMAT, _MEMORY)


def _wrap_descriptor_call(original: Callable[..., Any], engine: Engine, is_write: bool) -> Callable[..., Any]:
    active, after = engine.current.get, engine.after_call

    @functools.wraps(original)
    def call(descriptor: int, *args: Any) -> Any:  # all of them take positions only
        if active() is None:
            return original(descriptor, *args)
        read, write, resource = kind_of(descriptor)  # before, since another thread may close it meanwhile
        started_ns = _clock()
        result = original(descriptor, *args)
        size = result if isinstance(result, int) else len(result)
        after(write if is_write else read, started_ns, **{resource: size})
        return result

    return call


def _wrap_copy(original: Callable[..., Any], engine: Engine, out_first: bool) -> Callable[..., Any]:
    """The kernel copies between two descriptors: the same bytes are read from one and written to the other."""
    active, after = engine.current.get, engine.after_call

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if active() is None:
            return original(*args, **kwargs)
        first, second = (*args, *kwargs.values())[:2]
        source, target = kind_of(second if out_first else first), kind_of(first if out_first else second)
        started_ns = _clock()
        size = original(*args, **kwargs)
        after(source[0], started_ns, **{source[2]: size})
        after(target[1], _clock(), **{target[2]: size})
        return size

    return call
