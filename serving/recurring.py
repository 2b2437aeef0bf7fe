"""Work that comes again and again on a thread of its own, and outlives whatever goes wrong with one turn of it."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod

_logger = logging.getLogger(__name__)


class Recurring(ABC):
    """A thread that does `tick` every so many seconds; what fails is logged, and the next turn tries again."""

    def __init__(self, name: str, every_s: float, trouble: str) -> None:
        """``name`` is the thread's, ``trouble`` what the log says of a turn that failed."""
        self._name, self._every_s, self._trouble = name, every_s, trouble
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def tick(self, now_ns: int) -> object:
        """One turn, at a moment in Unix nanoseconds."""

    def start(self) -> None:
        """Begin; the first turn comes after the first pause."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn at hand and stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def pause_s(self) -> float:
        """Seconds until the next turn."""
        return self._every_s

    def _run(self) -> None:
        while not self._stopping.wait(self.pause_s()):
            try:
                self.tick(time.time_ns())
            except Exception:  # whatever went wrong with one turn must not end the others
                _logger.exception("%s and will be tried again", self._trouble)
