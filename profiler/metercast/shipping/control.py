"""The socket through which `metercast top`, `pause` and `resume` reach a running program of the same user.

A request is one line (`status`, `pause` or `resume`), the answer one line of JSON. The shipping thread looks for
requests once a round, so an answer takes up to METERCAST_INTERVAL_S; nobody asking costs one system call a round.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SUFFIX = ".sock"
_PATIENCE_S = 0.2


class Control:
    """Listens for this process, at ``directory``/PID.sock."""

    def __init__(self, directory: str, answer: Callable[[str], dict[str, Any]]) -> None:
        self._answer = answer
        self._process = os.getpid()
        self._path = os.path.join(directory, f"{self._process}{SUFFIX}")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # of a process of the same number that was killed
        self._listener.bind(self._path)
        self._listener.listen(8)
        self._asked = select.poll()
        self._asked.register(self._listener, select.POLLIN)

    def work(self) -> None:
        """Answer who has asked since the last call."""
        while self._asked.poll(0):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE_S)
                request = connection.recv(100).decode(errors="replace").strip()
                connection.sendall(json.dumps(self._answer(request)).encode() + b"\n")

    def close(self) -> None:
        """Stop listening; in a forked child the path stays, which is the parent's."""
        self._listener.close()
        if self._process == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def control_directory(configured: str = "") -> str | None:
    """The directory of the sockets, made for this user only; None where it is switched off or cannot be had."""
    if configured == "off" or not hasattr(socket, "AF_UNIX"):
        return None
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = configured or (
        os.path.join(runtime, "metercast") if os.path.isdir(runtime) else f"/tmp/metercast-{os.getuid()}"  # noqa: S108
    )
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        status = os.lstat(directory)
    except OSError:
        return None
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return directory if is_ours else None


def metered_processes(directory: str) -> list[int]:
    """Processes that listen there; what killed ones have left is removed."""
    found = []
    for name in sorted(os.listdir(directory)):
        number = name.removesuffix(SUFFIX)
        if name.endswith(SUFFIX) and number.isdigit():
            if os.path.exists(f"/proc/{number}") or not os.path.isdir("/proc"):
                found.append(int(number))
            else:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, name))
    return found


def ask(directory: str, process: int, request: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """The answer of a running program; raises OSError when it does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(os.path.join(directory, f"{process}{SUFFIX}"))
        connection.sendall(request.encode() + b"\n")
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    if not parts:
        raise ConnectionError("it closed the connection without an answer")
    answer: dict[str, Any] = json.loads(b"".join(parts))
    return answer
