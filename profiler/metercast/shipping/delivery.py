"""Delivers batches to a server in order, and keeps them on disk, in memory or as totals while it is away.

Policy, from the first to the last resort: send at once; wait in the spool directory up to its limit; wait in memory up
to 8 MiB; give up detail and keep totals per (user, operation, type, meter). At the end what waits in memory goes to the
spool as well, whatever its limit. A batch that was sent once without a clear answer is never rebuilt, only repeated
under its own (producer, epoch, sequence), so the server can tell a repetition.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque

from metercast.shipping.batch import compress
from metercast.shipping.client import LATER, REFUSED, Client
from metercast.shipping.columns import encode_columns
from metercast.shipping.folding import Amounts, Folding
from metercast.shipping.spool import COLUMNS_SUFFIX, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from metercast.settings import Settings
    from metercast.shipping.batch import Row
    from metercast.shipping.client import Reply
    from metercast.shipping.journal import Journal, Lost
    from metercast.shipping.producer import Producer

MEMORY_LIMIT_BYTES = 8 << 20
_BACKOFF_S = (0.25, 30.0)
_TURN_S = 0.25
"""How long a turn of sending what waits may last, so that the ring is emptied in between."""


class Kept:
    """A batch in memory: its name, its body, what it is worth if it were lost, and the records not accounted for."""

    __slots__ = ("amounts", "body", "name", "records", "sequence")

    def __init__(self, name: str, body: bytes, amounts: Amounts, records: int, sequence: int) -> None:
        self.name = name
        self.body = body
        self.amounts = amounts
        self.records = records
        self.sequence = sequence


class ServerDelivery:
    """Gets batches to ``URL/v1/events``; used by the shipper's thread only."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.client = Client(settings)
        self.producer = producer
        self.spool = _open_spool(settings)
        self.memory: deque[Kept] = deque()
        self.folding = Folding()
        self.journal: Journal | None = None
        self._folded_records = 0
        self.lost = Amounts()
        self.refused = Amounts()
        self.last_problem = ""
        self.keep_from_s = float("inf")
        """From this time on (monotonic) nothing is sent, only kept: the program ends."""
        self._has_given_up = False
        self._retry_at_s = 0.0
        self._asked_to_wait_until_s = 0.0
        self._backoff_s = _BACKOFF_S[0]
        self._waiting = self.spool is not None and self.spool.oldest() is not None

    @property
    def while_waiting(self) -> Callable[[], None] | None:
        """What is called again and again while the server does not answer."""
        return self.client.while_waiting

    @while_waiting.setter
    def while_waiting(self, work: Callable[[], None] | None) -> None:
        self.client.while_waiting = work

    def put(self, rows: list[Row], records: int = 0) -> None:
        """Send the events, or keep them until the server is back; with a journal they are on disk before.

        ``records`` is how many of the engine's records the rows, and those before them, stand for.
        """
        self._waiting = self._waiting or self.journal is not None or time.monotonic() >= self.keep_from_s
        if self._waiting:
            self._keep(rows, records)
            return
        batch = self._build(rows + self.folding.take())
        timeout_s = self.keep_from_s - time.monotonic() if self._is_ending() else None
        if not self._settle(self.client.send(batch.body, timeout_s), batch):
            self._waiting = True
            self._store(batch)

    def is_waiting(self) -> bool:
        """Whether there is something to be sent again."""
        return self._waiting

    def work(self, until_s: float | None = None) -> bool:
        """Send what waits, for a turn; ``until_s`` (monotonic) sets another deadline, and overrides the backoff.

        True when nothing waits. A server that asked to wait longer than the deadline is left alone.
        """
        if not self._waiting and not self.folding.is_empty():
            records, self._folded_records = self._folded_records, 0
            if self.journal is not None:
                self._keep(self.folding.take(), records)
                self._waiting = True
            else:
                self.put([])
        turn_ends_s = time.monotonic() + _TURN_S
        while self._waiting:
            now_s = time.monotonic()
            if until_s is None and (now_s < self._retry_at_s or now_s >= turn_ends_s):
                return False
            if until_s is not None and max(now_s, self._asked_to_wait_until_s) >= until_s:
                return False
            if now_s < self._asked_to_wait_until_s:
                time.sleep(self._asked_to_wait_until_s - now_s)
            elif not self._send_oldest(until_s):
                if until_s is None:
                    return False
                time.sleep(max(0.0, min(self._backoff_s, until_s - time.monotonic())))
        return self.folding.is_empty()

    def keep_for(self, killed: Lost, sequence: int, rows: list[Row]) -> bool:
        """Keep a batch of a killed process, to be sent with what waits; False when the disk has no room."""
        body = encode_columns(killed.name, killed.epoch, sequence, rows)
        name = f"{killed.name}-{killed.epoch}-{sequence:09d}"
        self._waiting = True
        return self.spool is not None and self.spool.put(name, compress(body), beyond_limit=True)

    def close(self, step: AbstractContextManager[object]) -> None:
        """Keep on disk what was not delivered, a batch a step; what the disk does not take is lost, and counted."""
        with step:
            if not self.folding.is_empty():
                self.memory.append(self._build(self.folding.take(), self._folded_records))
        while self.memory and not self._has_given_up:
            with step:
                if not self._spool(self.memory[0], beyond_limit=True):
                    self.lost.add(self.memory[0].amounts)
                    self.last_problem = self.spool.last_problem if self.spool is not None else "there is no spool"
                self.memory.popleft()  # only now: should the disk hang, it counts as lost
        self.client.close()

    def reached(self) -> tuple[int, int]:
        """What changes while it gets on."""
        return self.producer.sequence, len(self.memory)

    def give_up(self) -> Amounts:
        """Write nothing any more; returns what is in memory only. For when the shipping thread hangs."""
        self._has_given_up = True
        amounts = Amounts(self.folding.take())
        for batch in self.memory:
            amounts.add(batch.amounts)
        return amounts

    def _build(self, rows: list[Row], records: int = 0) -> Kept:
        producer, epoch, sequence = self.producer.next()
        body = encode_columns(producer, epoch, sequence, rows)
        name = f"{producer}-{epoch}-{sequence:09d}"
        return Kept(name, body if self.client.is_local else compress(body), Amounts(rows), records, sequence)

    def _is_ending(self) -> bool:
        return self.keep_from_s != float("inf")

    def _spool(self, batch: Kept, beyond_limit: bool = False) -> bool:
        """Keep a batch on disk; at the end of the program without waiting for the disk, which outlives it."""
        spool, journal = self.spool, self.journal
        if spool is None or self._has_given_up:
            return False
        is_kept = spool.put(
            batch.name,
            compress(batch.body),
            beyond_limit=beyond_limit,
            is_synced=not self._is_ending() and journal is None,
            before_naming=None if journal is None else lambda: journal.intend(batch.records, batch.sequence),
        )
        if is_kept:
            self._account(batch)
        return is_kept

    def _account(self, batch: Kept) -> None:
        if self.journal is not None:
            self.journal.account(batch.records)
        batch.records = 0

    def _store(self, batch: Kept) -> None:
        if not self._spool(batch):
            self.memory.append(batch)

    def _keep(self, rows: list[Row], records: int) -> None:
        batch = self._build(rows, records)
        if self._spool(batch):
            return
        if sum(len(kept.body) for kept in self.memory) + len(batch.body) <= MEMORY_LIMIT_BYTES:
            if self.journal is not None:
                self.journal.take_number(batch.sequence)
            self.memory.append(batch)
            return
        self.producer.take_back()
        self.folding.add(rows)
        self._folded_records += records

    def _send_oldest(self, until_s: float | None) -> bool:
        """Send one batch that waits, those on disk first; False when it has to wait on."""
        name = self.spool.oldest() if self.spool is not None else None
        timeout_s = None if until_s is None else until_s - time.monotonic()
        if name is None:
            if not self.memory:
                self._waiting = False
                return True
            if not self._settle(self.client.send(self.memory[0].body, timeout_s), self.memory[0]):
                return False
            self._account(self.memory.popleft())
            return True
        assert self.spool is not None
        body = self.spool.read(name)
        if body is None:
            return True
        reply = self.client.send(body, timeout_s)
        if not self._settle(reply, None):
            return False
        if reply.outcome == REFUSED:
            self.spool.set_aside(name)
        else:
            self.spool.remove(name)
        return True

    def _settle(self, reply: Reply, batch: Kept | None) -> bool:
        """Note the reply; False when the batch, which is on disk where it is None, must be sent again."""
        now_s = time.monotonic()
        if reply.outcome == LATER:
            self.last_problem = reply.reason
            self._asked_to_wait_until_s = now_s + reply.retry_after_s if reply.retry_after_s else 0.0
            self._retry_at_s = now_s + max(self._backoff_s * random.uniform(0.5, 1.0), reply.retry_after_s)
            self._backoff_s = min(_BACKOFF_S[1], self._backoff_s * 2)
            return False
        self._backoff_s = _BACKOFF_S[0]
        self.last_problem = reply.reason
        self.refused.events += reply.rejected_events
        if reply.outcome == REFUSED and batch is not None:
            self.refused.add(batch.amounts)
            if self.spool is not None and self._spool(batch, beyond_limit=True):
                self.spool.set_aside(self.spool.file_name(batch.name))
        elif reply.outcome == REFUSED:
            self.refused.events += 1  # a batch of another run; its rows are in the file set aside
        return True


def _open_spool(settings: Settings) -> Spool | None:
    """The spool of this destination: batches left there by an earlier run go to the same server and no other."""
    place = "".join(letter if letter.isalnum() else "_" for letter in settings.to)
    base = settings.spool or os.path.join(os.path.expanduser("~"), ".local", "state", "metercast", "spool")
    try:
        return Spool(os.path.join(base, place), settings.spool_limit_bytes, COLUMNS_SUFFIX)
    except OSError:
        return None
