"""What this machine offers for metering: counters, interception, and places for batches."""

from __future__ import annotations

import contextlib
import ctypes
import errno
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
_WITHOUT_KERNEL, _WITHOUT_HYPERVISOR = 0x20, 0x40  # bits of `struct perf_event_attr`, see the manual page
_PARANOID = "/proc/sys/kernel/perf_event_paranoid"
_TCP_INFO_WITH_BYTES = 216
"""Size of what the kernel tells of a connection since its bytes sent and sent again are part of it."""
_CONNECT_S = 3.0


def checks() -> Iterator[Check]:
    """(what, whether it is as it should be, what was found); only a destination or a spool can be at fault."""
    yield "interception", True, _interception()
    yield "cycles", True, _cycles()
    found = os.path.exists("/proc/thread-self/io")
    yield "bytes of system calls", True, "counted by the kernel" if found else "not counted: no /proc/thread-self/io"
    yield "network counters", True, _connections()
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


def _connections() -> str:
    """Whether the kernel counts the bytes of a TCP connection, to compare what is charged with."""
    from metercast.native import is_compiled
    from metercast.runtime import engine

    if not hasattr(socket, "TCP_INFO"):
        return "none: no TCP_INFO"
    with socket.socket() as connection:
        size_bytes = len(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512))
    if size_bytes < _TCP_INFO_WITH_BYTES:
        return "TCP_INFO without bytes sent; Linux 4.19 or newer has them"
    how = "connections are compared with it" if is_compiled(engine) else "the Python engine does not compare with it"
    return f"TCP_INFO; {how}"


def _cycles() -> str:
    """Whether the processor's counter can be read, as by `perf_event_open`, and what there is to do about it."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None or not sys.platform.startswith("linux"):
        return "CPU time x nominal frequency: no hardware counter on this system"
    with_kernel, _ = _open_counter(number, _WITHOUT_HYPERVISOR)
    found, problem = (True, 0) if with_kernel else _open_counter(number, _WITHOUT_HYPERVISOR | _WITHOUT_KERNEL)
    if found:
        part = "" if with_kernel else ", without those in the kernel (kernel.perf_event_paranoid = 1 counts them too)"
        return f"counted by the processor{part}, {_reading()}"
    if problem in (errno.EACCES, errno.EPERM):
        reason = f"not permitted, {_PARANOID} is {_paranoid()}; `sysctl kernel.perf_event_paranoid=2` or CAP_PERFMON,"
        reason += " and in a container a seccomp profile with perf_event_open, permit it"
    elif problem in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        reason = "this machine shows none, as most virtual machines; nothing to set inside of it"
    else:
        reason = os.strerror(problem)
    return f"CPU time x nominal frequency: no hardware counter ({reason})"


def _reading() -> str:
    from metercast.clock import nominal_hz
    from metercast.native import is_compiled
    from metercast.runtime import engine

    if not is_compiled(engine):
        return "which takes the compiled engine"
    with contextlib.suppress(OSError):
        engine.count_cycles("cycles", True, nominal_hz())
        return "read without a system call"
    return "read by a system call at each boundary of an operation, hence only with METERCAST_CYCLES=counter"


def _open_counter(number: int, excluded: int) -> tuple[bool, int]:
    """(whether a counter of this thread's cycles opens, the error's number)."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("<IIQQQQQQ", 0, 64, 0, 0, 0, 0, 1 | excluded, 0)  # disabled: it is only tried
    descriptor = libc.syscall(number, ctypes.c_char_p(attributes), 0, -1, -1, 0)
    if descriptor < 0:
        return False, ctypes.get_errno()
    os.close(descriptor)
    return True, 0


def _paranoid() -> str:
    try:
        with open(_PARANOID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "missing"


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
