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
    from typing import Any

    from metercast.engine import Engine

_DISK = (CODE["DISK_READ"], CODE["DISK_WRITE"], "disk")
_NETWORK = (CODE["NETWORK_RECEIVE"], CODE["NETWORK_SEND"], "network")
_MEMORY = (CODE["MEMORY_READ"], CODE["MEMORY_WRITE"], "memory")
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

    class FileIO(io.FileIO):  # type: ignore[misc,name-defined]
        """The raw file of the standard library, counting bytes as they cross to the kernel."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._metercast_kind = kind_of(self.fileno())

        def readinto(self, buffer: Any) -> Any:
            if active() is None:
                return super().readinto(buffer)
            started_ns = _clock()
            size = super().readinto(buffer)
            after(self._metercast_kind[0], started_ns, **{self._metercast_kind[2]: size or 0})
            return size

        def read(self, size: Any = -1) -> Any:
            if active() is None:
                return super().read(size)
            started_ns = _clock()
            data = super().read(size) if size is not None and size >= 0 else super().readall()
            after(self._metercast_kind[0], started_ns, **{self._metercast_kind[2]: len(data or b"")})
            return data

        def readall(self) -> Any:
            return self.read()

        def write(self, data: Any) -> Any:
            if active() is None:
                return super().write(data)
            started_ns = _clock()
            size = super().write(data)
            after(self._metercast_kind[1], started_ns, **{self._metercast_kind[2]: size or 0})
            return size

    FileIO.__module__, FileIO.__qualname__ = "_io", "FileIO"
    return FileIO


def _opener(io: ModuleType, raw_file: type, original: Callable[..., Any]) -> Callable[..., Any]:
    """Build `open`: the layers of the standard library's own, as its documentation gives them, on our raw file."""

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
        if not _is_plain(mode, buffering, is_text_option_given):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)  # its own errors
        raw = result = raw_file(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        try:
            if buffering == 0:
                return raw
            result = buffer = _buffered(io, raw, mode, buffering)
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


def _is_plain(mode: Any, buffering: Any, is_text_option_given: bool) -> bool:
    """Whether the arguments are ones that `io.open` takes without complaint."""
    if not isinstance(mode, str) or not isinstance(buffering, int):
        return False
    letters = set(mode)
    if len(letters) != len(mode) or not letters <= set("rwaxbt+") or len(letters & set("rwax")) != 1:
        return False
    if "b" in letters:
        return "t" not in letters and not is_text_option_given
    return buffering != 0


def _buffered(io: ModuleType, raw: Any, mode: str, buffering: int) -> Any:
    """The buffer that `io.open` puts on a raw file."""
    size = buffering if buffering > 1 else _block_size(raw, io.DEFAULT_BUFFER_SIZE)
    layer = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
    return layer(raw, size)


def _block_size(raw: Any, default: int) -> int:
    size = getattr(raw, "_blksize", default)
    return size if size > 1 else default


def kind_of(descriptor: int) -> tuple[int, int, str]:
    """(code of reading, code of writing, resource) of a descriptor: files and block devices are disk, sockets network.

    Pipes, terminals and character devices move bytes through memory only.
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except (OSError, TypeError):
        return _DISK
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode):
        return _DISK
    return _NETWORK if stat.S_ISSOCK(mode) else _MEMORY


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
        started_ns = _clock()
        size = original(*args, **kwargs)
        first, second = (*args, *kwargs.values())[:2]
        source, target = kind_of(second if out_first else first), kind_of(first if out_first else second)
        after(source[0], started_ns, **{source[2]: size})
        after(target[1], _clock(), **{target[2]: size})
        return size

    return call
