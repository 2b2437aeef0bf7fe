"""The one daemon thread of the profiler: empties the ring, builds batches and hands them to a delivery."""

from __future__ import annotations

import contextlib
import threading
import time

from metercast.ledger import Ledger
from metercast.pseudonym import Pseudonyms, newest_key
from metercast.shipping.batch import Converter, wire_name
from metercast.shipping.control import Control, control_directory
from metercast.shipping.destination import delivery_of
from metercast.shipping.ending import Ending, tell
from metercast.shipping.folding import Amounts
from metercast.shipping.journal import Journal, of_killed_processes
from metercast.shipping.reconciling import Reconciliation
from metercast.shipping.self_cost import SelfCost
from metercast.shipping.status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.engine import Engine
    from metercast.settings import Settings
    from metercast.shipping.batch import Row
    from metercast.shipping.journal import Lost


_ENOUGH_RECORDS = 200
"""What is worth a round of its own; a round costs about what 200 records cost to ship."""
_LOOKS = 3
"""Less than that waits for so many intervals: 1.5 s by default, where the platform lets events be 2 s late."""
_RECORDS_AT_ONCE = 20_000
_ROWS_AHEAD = 100_000
"""Rows that may be taken off the ring while the server does not answer; about 30 MB."""


class Shipper:
    """Ships what the engine records; without a destination it only adds up a `Ledger` for the summary."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.ledger = Ledger()
        self._intercepts = engine.intercept()
        self._begin()

    def _begin(self) -> None:
        self.converter = Converter(self.settings.detail, self.engine.source, folds=not self.settings.journal)
        keys = self.settings.pseudonym_keys
        self._pseudonyms = Pseudonyms(newest_key(keys)) if keys else None
        self.delivery = delivery_of(self.settings)
        if self.delivery is not None and not self.settings.journal:
            self.delivery.while_waiting = self._drain_ahead
        self.events = self.dropped = 0
        self.lost = Amounts()
        self.problem = ""
        self._pending: list[Row] = []
        self._recorded = self._recorded_before = self._pending_records = 0
        self._journal: Journal | None = None
        self._killed: list[Lost] = []
        self._changes: list[str] = []
        self.status = Status(self)
        self._control: Control | None = None
        self._wake = threading.Lock()  # released to wake the thread: waiting for it runs no Python code
        self._wake.acquire()
        self._done = threading.Condition()
        self._rounds_wanted = 0
        self._rounds_done = 0
        self._deadline_s: float | None = None
        self._stopping = False
        self._ending = Ending()
        self._reconciliation = Reconciliation(self.engine, before_thread=True)
        self._thread = threading.Thread(target=self._run, name="metercast", daemon=True)

    def start(self) -> None:
        """Start the thread; it works for no operation, whatever is open now."""
        self._guard(self._open_journal)
        token = self.engine.current.set(None)
        try:
            self._thread.start()
        finally:
            self.engine.current.reset(token)

    def restart_after_fork(self) -> None:
        """In a forked child: a new producer; what the parent had queued is the parent's to deliver."""
        self.ledger = Ledger()
        if self._control is not None:
            self._control.close()
        self._begin()
        self.start()

    def forget_journal(self) -> None:
        """In a forked child, first of all: what it records is not its parent's."""
        if self._journal is not None:
            self.engine.count_into(None)

    def _open_journal(self) -> None:
        delivery = self.delivery
        if delivery is None or delivery.spool is None:
            return
        directory = delivery.spool.directory
        if self.settings.journal:
            keeps_records = self._pseudonyms is None  # a file of records would have the names that are to be hidden
            self._journal = delivery.journal = Journal(directory, delivery.producer, self.engine, keeps_records)
        self._killed = of_killed_processes(directory, delivery.spool.suffix)

    def switch(self, is_on: bool, reason: str) -> None:
        """Pause or resume metering; an event tells of it, which a bill can show."""
        if self.engine.is_on != is_on:
            self.engine.is_on = is_on
            self._changes.append(f"metering {'resumed' if is_on else 'paused'}: {reason}")
            self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake
            self._wake.release()

    def flush(self, timeout_s: float) -> bool:
        """Have everything recorded so far shipped; False if that took longer than the timeout."""
        with self._done:
            self._rounds_wanted = wanted = max(self._rounds_wanted, self._rounds_done) + 1
            self._deadline_s = time.monotonic() + timeout_s
            self._wake_up()
            return self._done.wait_for(lambda: self._rounds_done >= wanted, timeout_s)

    def stop(self, timeout_s: float | None = None) -> None:
        """Ship the rest within the timeout, keep on disk what remains, end the thread."""
        timeout_s = self.settings.timeout_s if timeout_s is None else timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        if self.delivery is not None:
            self.delivery.keep_from_s = self._deadline_s
        self._stopping = True
        self._wake_up()
        is_other = self._thread.is_alive() and self._thread is not threading.current_thread()
        if is_other and not self._ending.is_over(
            self._thread, timeout_s, lambda: (self.events, self.delivery and self.delivery.reached())
        ):
            self.problem = "not all could be written in time"
            self.lost.add(self._ending.give_up(lambda: self._pending, self.converter, self.engine, self.delivery))
        tell(self.lost, self.problem or (self.delivery.last_problem if self.delivery is not None else ""))

    def _run(self) -> None:
        self.self_cost = SelfCost(self.engine, self.converter, self.settings, self._reconciliation)
        self.engine.mute()
        self._guard(self._listen)
        self._guard(self._tell_of_killed)
        while not self._stopping:
            self._await_round()
            wanted = self._rounds_wanted
            self._guard(self._round)
            with self._done:
                self._rounds_done = max(self._rounds_done, wanted)
                self._done.notify_all()
        self._look()
        self._guard(self._round)
        self._guard(self._close)

    def _await_round(self) -> None:
        """Look once an interval until there is enough to ship, what there is has waited for long, or somebody asks.

        A look costs a hundredth of a round, so that metering an idle program is all but free.
        """
        enough = min(_ENOUGH_RECORDS, self.settings.ring_capacity // 2)
        for _ in range(_LOOKS):
            is_asked = self._wake.acquire(timeout=self.settings.interval_s)
            self._look()
            recorded = self.engine.recorded() - self._recorded_before
            if is_asked or recorded >= enough:
                break
            if self.status.is_watched() or (self.delivery is not None and self.delivery.is_waiting()):
                break
        self._recorded_before = self.engine.recorded()

    def _look(self) -> None:
        self._guard(self._settle)
        if self._control is not None:
            self._guard(self._control.work)

    def _settle(self) -> None:
        """Have long operations record what they have used so far, and see to libraries loaded without an import."""
        self.engine.tick += 1
        if self._intercepts:
            self.engine.intercept()
        self.engine.pending()

    def _listen(self) -> None:
        directory = control_directory(self.settings.control)
        if directory is not None:
            self._control = Control(directory, self._answer)

    def _tell_of_killed(self) -> None:
        """Complete what killed processes have left in the place where this one keeps its batches."""
        for one in self._killed:
            batches = one.batches(self.self_cost.lost)
            if self.delivery is not None and all(self.delivery.keep_for(one, *batch) for batch in batches):
                one.forget()

    def _answer(self, request: str) -> dict[str, Any]:
        """What `metercast top`, `pause` and `resume` ask."""
        if request in ("pause", "resume"):
            self.switch(request == "resume", f"by `metercast {request}`")
        elif request != "status":
            return {"problem": f"{request!r:.50} is unknown; one of status, pause, resume"}
        return self.status.tell()

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self.delivery is not None:
            self.delivery.close(self._ending.step)
            if not self._ending.has_given_up:
                self.lost.add(self.delivery.lost)
        if self._journal is not None:
            self._journal.close()

    def _round(self) -> None:
        engine = self.engine
        left = engine.pending()
        at_once = _RECORDS_AT_ONCE if self._journal is None else self.settings.batch_events
        while left > 0:
            left -= self._drain(min(left, at_once))
            self._ship_full_batches()
        with self._ending.step:
            grown = engine.take_totals()
            summed = int(sum(amounts[0] for _, amounts in grown))
            self._put(self.converter.totals(grown), summed)
        recorded, self._recorded = self._recorded, 0
        dropped, self.dropped = engine.dropped - self.dropped, engine.dropped
        self._put(self.self_cost.rows(recorded, dropped, is_ending=self._stopping))
        changes, self._changes = self._changes, []
        self._put([self.self_cost.change(text) for text in changes])
        self._ship_full_batches()
        self._guard(self._ship)

    def _drain(self, limit: int) -> int:
        """Take records off the ring; returns how many."""
        with self._ending.step:
            if self._ending.has_given_up:
                return limit
            count, rows = self.converter.take(self.engine, limit)
            self._put(rows, count)
            return count

    def _drain_ahead(self) -> None:
        """While the server makes the thread wait: keep the ring from running over, as far as memory goes."""
        room = _ROWS_AHEAD - len(self._pending)
        if room > 0 and self.engine.pending():
            self._drain(min(room, _RECORDS_AT_ONCE))

    def _put(self, rows: list[Row], records: int = 0) -> None:
        self.events += len(rows)
        self._recorded += records
        self._pending_records += records
        if self.delivery is None:
            self.ledger.add(rows)
        else:
            self.status.add(rows)
            if self._pseudonyms is not None:
                rows = [(row[0], self._pseudonyms.of(wire_name(row[1], "unknown")), *row[2:]) for row in rows]
            self._pending += rows

    def _ship_full_batches(self) -> None:
        while len(self._pending) >= self.settings.batch_events:
            self._guard(self._ship_batch)
        if self._journal is not None and self._pending:  # a batch for each drain, so that its records are known
            self._guard(self._ship_batch)

    def _ship(self) -> None:
        """Hand over what is left of this round, and send what waits."""
        if self.delivery is not None:
            while self._pending:
                self._ship_batch()
            self.delivery.work(self._deadline_s)
            self._deadline_s = None if not self._stopping else self._deadline_s

    def _ship_batch(self) -> None:
        with self._ending.step:
            rows, rest = self._pending[: self.settings.batch_events], self._pending[self.settings.batch_events :]
            self._pending = rest
            if self.delivery is None or self._ending.has_given_up:
                return
            records = 0
            if not rest:
                records, self._pending_records = self._pending_records, 0
            try:
                self.delivery.put(rows, records)
            except Exception:
                self.lost.add(Amounts(rows))
                raise

    def _guard(self, part: Callable[[], None]) -> None:
        """Whatever goes wrong in shipping is counted and told, and is never the program's problem."""
        try:
            part()
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
