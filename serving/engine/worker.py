"""The engine's thread: reads the log, steps, and commits state, windows and what hooks found in one transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from features.contracts import EventLog, LoggedBatch
from serving.engine.hooks import WindowHook
from serving.engine.state import EngineState
from serving.engine.step import Outputs, Rules, step
from serving.engine.store import EngineStore, ErasedError, FencedError

_READ_BATCHES = 64
_STANDBY_S = 1.0
_KEPT_REVISIONS = 1_024
_logger = logging.getLogger(__name__)


class EngineWorker:
    """Turns the log into windows in the background.

    Each start takes a new fencing epoch, so that a worker thought dead cannot write after its successor began.
    """

    def __init__(
        self,
        log: EventLog,
        store: EngineStore,
        windows_s: Sequence[int] = (1, 10, 60, 3600),
        lateness_s: float = 2.0,
        hooks: Sequence[WindowHook] = (),
        idle_s: float = 0.1,
        batch_limit: int = 512,
        event_limit: int = 1_000_000,
        baseline_window_s: int | None = None,
    ) -> None:
        """``windows_s`` are lengths in seconds, each a multiple of the shortest; raises ValueError otherwise.

        A step takes in at most ``batch_limit`` batches and stops reading at ``event_limit`` events. Baselines learn
        windows of ``baseline_window_s``, by default the shortest.
        """
        lengths = tuple(sorted(windows_s))
        self._rules = Rules(lengths, round(lateness_s * 1e9), baseline_window_s or lengths[0])
        self._log, self._store, self._hooks = log, store, tuple(hooks)
        self._idle_s, self._batch_limit, self._event_limit = idle_s, batch_limit, event_limit
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._leads = False
        self._is_doubtful = False
        self._erasure = 0
        self._state = EngineState()
        self._rate_per_s = 0.0
        self._revisions: deque[tuple[int, int]] = deque(maxlen=_KEPT_REVISIONS)
        self.problem: str | None = None

    @property
    def windows_s(self) -> tuple[int, ...]:
        """Lengths of the windows kept, in seconds."""
        return self._rules.windows_s

    @property
    def baseline_window_s(self) -> int:
        """Length of the windows that baselines learn, in seconds."""
        return self._rules.baseline_window_s

    @property
    def state(self) -> EngineState:
        """The state as it was last committed; it never changes, a later one takes its place."""
        return self._state

    @property
    def leads(self) -> bool:
        """Whether this worker is the one that runs; of several servers on one database the others wait."""
        return self._leads

    def start(self) -> None:
        """Take over the database, or wait for one's turn where several share it, and begin."""
        self._try_to_lead()
        self._thread = threading.Thread(target=self._run, name="metercast-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the step at hand and stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def status(self) -> dict[str, Any]:
        """Where the engine stands: offset, lag in batches, events a second, watermark, late events, trouble."""
        return {
            "offset": self._state.offset,
            "lag": max(0, self._log.last_offset() - self._state.offset),
            "events_per_s": round(self._rate_per_s, 1),
            "watermark_ns": self._state.watermark_ns,
            "late_events": self._state.late_events,
            "problem": self.problem,
        }

    def closed_until_ns(self, window_s: int) -> int:
        """End of the last closed window of a length, in Unix nanoseconds; 0 before the first."""
        return self._state.closed_until_ns.get(window_s, 0)

    def revisions(self) -> list[tuple[int, int]]:
        """The last times that a closed window of the shortest length was revised: (number, window start in ns)."""
        return list(self._revisions)

    def take_over(self) -> None:
        """Become the one worker of the database, with the state that is kept there."""
        self._store.take_over()
        self._state = EngineState.of(self._store.load())

    def _try_to_lead(self) -> bool:
        """Become the one worker if there is none; those that wait follow what it commits."""
        if self._store.lead():
            self.take_over()
            self._leads = self._is_doubtful = True
        else:
            self._state = EngineState.of(self._store.load())
        return self._leads

    def _run(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                if not self._leads and not self._try_to_lead():
                    self._stopping.wait(_STANDBY_S)
                    continue
                events = self.advance()
            except FencedError as error:
                if self._store.is_shared:
                    self._leads = False
                    continue
                self.problem = str(error)
                break
            except ErasedError:
                continue
            except Exception as error:  # a step that failed was rolled back and is tried again
                self.problem = f"{type(error).__name__}: {error}"
                _logger.exception("the engine's step failed and will be tried again")
                self._stopping.wait(1.0)
                continue
            self.problem = None
            if not events:
                self._stopping.wait(self._idle_s)
            spent_s = max(time.monotonic() - started, 1e-6)
            weight = min(1.0, spent_s / 5.0)
            self._rate_per_s += weight * (events / spent_s - self._rate_per_s)
        self._store.close()

    def advance(self) -> int:
        """One step: read, compute, commit. Returns how many events it took in."""
        self._forget_erased()  # before reading: a batch read before an erasure must not be counted after it
        batches, is_end = self._read()
        following, outputs = step(self._state, batches, self._rules, time.time_ns() if is_end else 0)
        if not batches and not outputs.moved:
            return 0
        try:
            shown = self._show(following, outputs)  # computed before the transaction, which keeps ingest waiting
            prepared = self._store.prepared(outputs.checkpoint)
            with self._store.transaction() as connection:
                if self._store.last_erasure() != self._erasure:
                    raise ErasedError("data were erased during this step; it is done again")
                self._store.write(prepared)
                for hook in shown:
                    hook.write(connection)
        except BaseException:
            self._is_doubtful = True  # where the answer to a commit was lost, it may have been kept
            for hook in self._hooks:
                hook.rolled_back()
            raise
        self._state = following
        self._store.tidy(prepared)
        for start_ns in np.unique(outputs.revised[self.windows_s[0]].starts_ns).tolist():
            self._revisions.append((self._revisions[-1][0] + 1 if self._revisions else 1, start_ns))
        return outputs.events

    def _read(self) -> tuple[list[LoggedBatch], bool]:
        """The batches of a step, and whether they are the last there are."""
        batches: list[LoggedBatch] = []
        events = 0
        while len(batches) < self._batch_limit and events < self._event_limit:
            wanted = min(_READ_BATCHES, self._batch_limit - len(batches))
            found = self._log.read(batches[-1].offset if batches else self._state.offset, wanted)
            batches += found
            events += sum(one.batch.rows.num_rows for one in found)
            if len(found) < wanted:
                return batches, True
        return batches, False

    def _forget_erased(self) -> None:
        """Read state anew after an erasure, or where it is in doubt, and make hooks do so."""
        latest = self._store.last_erasure()
        if latest == self._erasure and not self._is_doubtful:
            return
        self._state = EngineState.of(self._store.load())
        for hook in self._hooks:
            hook.rolled_back()
        self._erasure, self._is_doubtful = latest, False

    def _show(self, following: EngineState, outputs: Outputs) -> list[WindowHook]:
        """Let hooks compute with what they watch of the windows that closed; returns those that have seen some."""
        shown = [hook for hook in self._hooks if len(outputs.closed.get(hook.window_s, ()))]
        for hook in shown:
            closed = outputs.closed[hook.window_s]
            hook.closed(hook.window_s, closed, following.series.names, self._store.reader())
        return shown
