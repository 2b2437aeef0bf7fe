"""Child processes that never outlive the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType


class ChildError(RuntimeError):
    """A child process ended too early or said nothing; the message has the end of its output."""


class Child:
    """A process in a group of its own; its standard error goes to a file that error messages quote."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def first_line(self, timeout_s: float = 60.0) -> str:
        """The first line it prints, which says that it is ready; raises ChildError when it ends or stays silent."""
        found: list[str] = []
        output = self.process.stdout
        assert output is not None
        reader = threading.Thread(target=lambda: found.append(output.readline()), daemon=True)
        reader.start()
        reader.join(timeout_s)
        if not found or not found[0]:
            raise ChildError(f"{self.name} did not start:\n{self.errors()}")
        return found[0].strip()

    def output(self) -> str:
        """Everything it prints until it ends; raises ChildError for an exit code other than 0."""
        text, _ = self.process.communicate()
        if self.process.returncode:
            raise ChildError(f"{self.name} ended with code {self.process.returncode}:\n{self.errors()}")
        return text

    def errors(self) -> str:
        """The end of its standard error."""
        return self._log.read_text(errors="replace")[-2_000:]

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def stop(self, timeout_s: float = 8.0) -> None:
        """End it, politely first, and everything it started."""
        if self.is_running():
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Children:
    """Starts children and ends them all, last one first, when the block ends, however it ends."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Start a child; its log is NAME.log."""
        child = Child(name, command, self._logs / f"{name}.log", environment)
        self._children.append(child)
        return child

    def __enter__(self) -> Children:
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        for number in self._previous:
            signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave the rest running.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for child in reversed(self._children):
                child.stop()
        finally:
            signal.signal(signal.SIGINT, previous)
            for number, handler in self._previous.items():
                signal.signal(number, handler)


def metercast(*arguments: str) -> list[str]:
    """The command line of `metercast` in this environment."""
    return [sys.executable, "-m", "metercast.command", *arguments]


def wait_until(condition: object, timeout_s: float, what: str) -> None:
    """Wait for a condition (a function without arguments); raises ChildError after the timeout."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ChildError(f"waited {timeout_s:.0f} s for {what} in vain")
        time.sleep(0.2)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
