"""What this machine offers for metering: counters, interception, and places for batches."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import socket
import struct
import sys
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Check = tuple[str, bool, str]

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_CYCLES_OF_USER = struct.pack("<IIQQQQQQ", 0, 64, 0, 0, 0, 0, 0x61, 0)  # disabled, without kernel and hypervisor
_CONNECT_S = 3.0


def checks() -> Iterator[Check]:
    """(what, whether it is as it should be, what was found); only a destination or a spool can be at fault."""
    yield "interception", True, _interception()
    yield "cycles", True, _cycles()
    found = os.path.exists("/proc/thread-self/io")
    yield "bytes of system calls", True, "counted by the kernel" if found else "not counted: no /proc/thread-self/io"
    yield "network counters", True, "TCP_INFO" if hasattr(socket, "TCP_INFO") else "none: no TCP_INFO"
    yield "fork", True, "children meter themselves" if hasattr(os, "fork") else "none here"
    yield "metercast top", True, _control()
    yield _spool()
    if os.environ.get("METERCAST_TO"):
        yield _destination(os.environ["METERCAST_TO"])


def _interception() -> str:
    from metercast.native import is_compiled
    from metercast.runtime import engine

    if engine.intercept():
        return "libc calls of every library; not io_uring, mapped files and raw system calls"
    if is_compiled(engine):
        return "Python's own calls: no glibc on Linux here"
    compiler = shutil.which("cc") or shutil.which("gcc")
    how = "`pip install --force-reinstall` builds it" if compiler else "it needs a C compiler"
    return f"Python's own calls; the compiled engine sees C libraries too, {how}"


def _cycles() -> str:
    """Whether the processor's counter can be read, as by `perf_event_open` (see its manual page)."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None or not sys.platform.startswith("linux"):
        return "CPU time x nominal frequency: no hardware counter on this system"
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, ctypes.c_char_p(_CYCLES_OF_USER), 0, -1, -1, 0)
    if descriptor >= 0:
        os.close(descriptor)
        return "a hardware counter can be read"
    return f"CPU time x nominal frequency: no hardware counter ({os.strerror(ctypes.get_errno())})"


def _control() -> str:
    from metercast.shipping.control import control_directory

    directory = control_directory(os.environ.get("METERCAST_CONTROL", ""))
    return f"sockets in {directory}" if directory else "switched off, or its directory is open to others"


def _spool() -> Check:
    directory = os.environ.get("METERCAST_SPOOL") or os.path.join(
        os.path.expanduser("~"), ".local", "state", "metercast", "spool"
    )
    place = directory
    while not os.path.isdir(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    if not os.access(place, os.W_OK):
        return "spool", False, f"{place} cannot be written to; set METERCAST_SPOOL to a directory that can"
    free_mb = shutil.disk_usage(place).free / 1e6
    return "spool", True, f"{directory}, {free_mb:,.0f} MB free"


def _destination(to: str) -> Check:
    if "://" not in to:
        return "destination", True, f"directory {to}"
    parts = urlsplit(to)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        return "destination", False, f"{to} does not answer ({error}); start it, or correct METERCAST_TO"
    return "destination", True, f"{to} answers"
