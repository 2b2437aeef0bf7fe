"""Delivers batches to a server in order, and keeps them on disk, in memory or as totals while it is away.

Policy, from the first to the last resort: send at once; wait in the spool directory up to its limit; wait in memory up
to 8 MiB; give up detail and keep totals per (user, operation, type, meter). A batch that was sent once without a clear
answer is never rebuilt, only repeated under its own (producer, epoch, sequence), so the server can tell a repetition.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque

from metercast.shipping.batch import compress, encode
from metercast.shipping.client import ACCEPTED, LATER, REFUSED, Client
from metercast.shipping.columns import encode_columns
from metercast.shipping.folding import Folding
from metercast.shipping.spool import COLUMNS_SUFFIX, JSON_SUFFIX, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings
    from metercast.shipping.batch import Row
    from metercast.shipping.client import Reply

MEMORY_LIMIT_BYTES = 8 << 20
_BACKOFF_S = (0.25, 30.0)


class Producer:
    """Who ships: the unique name of this process and the numbers its batches get."""

    __slots__ = ("epoch", "name", "sequence")

    def __init__(self) -> None:
        self.name = f"{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
        self.epoch = time.time_ns()
        self.sequence = 0

    def next(self) -> tuple[str, int, int]:
        """The key of the next batch."""
        self.sequence += 1
        return self.name, self.epoch, self.sequence


class ServerDelivery:
    """Gets batches to ``URL/v1/events``; used by the shipper's thread only."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.client = Client(settings)
        self.producer = producer
        self.spool = _open_spool(settings)
        self.memory: deque[tuple[str, bytes]] = deque()
        self.folding = Folding()
        self.refused = 0
        self.last_problem = ""
        self._retry_at_s = 0.0
        self._backoff_s = _BACKOFF_S[0]
        self._waiting = self.spool is not None and bool(self.spool.names())

    def put(self, rows: list[Row]) -> None:
        """Send the events, or keep them until the server is back."""
        if self._waiting:
            self._keep(rows)
            return
        name, body = self._build(rows + self.folding.take())
        reply = self.client.send(body)
        if not self._settle(reply, name, body):
            self._waiting = True
            if self.spool is None or not self.spool.put(name, compress(body)):
                self.memory.append((name, body))

    def work(self, until_s: float | None = None) -> bool:
        """Send what waits, if it is time; ``until_s`` (monotonic) overrides the backoff. True when nothing waits."""
        if not self._waiting and not self.folding.is_empty():
            self.put([])
        while self._waiting:
            now_s = time.monotonic()
            if (until_s is not None and now_s >= until_s) or (until_s is None and now_s < self._retry_at_s):
                return False
            if not self._send_oldest(until_s):
                if until_s is None:
                    return False
                time.sleep(max(0.0, min(self._backoff_s, until_s - time.monotonic())))
        return self.folding.is_empty()

    def close(self) -> int:
        """Keep on disk what was not delivered; returns the batches that could not be kept, which are lost."""
        lost = 0
        if not self.folding.is_empty():
            self.memory.append(self._build(self.folding.take()))
        for name, body in self.memory:
            lost += self.spool is None or not self.spool.put(name, compress(body))
        self.memory.clear()
        self.client.close()
        return lost

    def _build(self, rows: list[Row]) -> tuple[str, bytes]:
        producer, epoch, sequence = self.producer.next()
        body = encode_columns(producer, epoch, sequence, rows)
        return f"{producer}-{epoch}-{sequence:09d}", body if self.client.is_local else compress(body)

    def _keep(self, rows: list[Row]) -> None:
        producer = self.producer
        name, body = self._build(rows)
        if self.spool is not None and self.spool.put(name, compress(body)):
            return
        if sum(len(body) for _, body in self.memory) + len(body) <= MEMORY_LIMIT_BYTES:
            self.memory.append((name, body))
            return
        producer.sequence -= 1  # never sent, so its number is free
        self.folding.add(rows)

    def _send_oldest(self, until_s: float | None) -> bool:
        names = self.spool.names() if self.spool is not None else []
        body: bytes | None
        if names and self.spool is not None:
            name, body = names[0], self.spool.read(names[0])
        elif self.memory:
            name, body = self.memory[0]
        else:
            self._waiting = False
            return True
        if body is None:
            return True
        timeout_s = None if until_s is None else until_s - time.monotonic()
        if not self._settle(self.client.send(body, timeout_s), name, body, spooled=bool(names)):
            return False
        if names and self.spool is not None:
            self.spool.remove(name)
        else:
            self.memory.popleft()
        return True

    def _settle(self, reply: Reply, name: str, body: bytes, spooled: bool = False) -> bool:
        """Note the reply; False when the batch must be sent again."""
        if reply.outcome == LATER:
            self.last_problem = reply.reason
            wait_s = self._backoff_s * random.uniform(0.5, 1.0)
            self._retry_at_s = time.monotonic() + max(wait_s, reply.retry_after_s)
            self._backoff_s = min(_BACKOFF_S[1], self._backoff_s * 2)
            return False
        self._backoff_s = _BACKOFF_S[0]
        self.last_problem = ""
        if reply.outcome == REFUSED:
            self.refused += 1
            self.last_problem = reply.reason
            if self.spool is not None:
                if not spooled:
                    self.spool.put(name, compress(body))
                self.spool.set_aside(name if spooled else self.spool.file_name(name))
        return reply.outcome in (ACCEPTED, REFUSED)


class DirectoryDelivery:
    """Leaves every batch as a file in a directory, for `metercast` commands or a later upload."""

    def __init__(self, directory: str, producer: Producer) -> None:
        self.spool = Spool(directory, suffix=JSON_SUFFIX)
        self.producer = producer
        self.folding = Folding()
        self.refused = 0
        self.last_problem = ""

    def put(self, rows: list[Row]) -> None:
        """Write the events as one batch; without room on the disk only their totals are kept, for the next try."""
        rows = rows + self.folding.take()
        producer, epoch, sequence = self.producer.next()
        name = f"{producer}-{epoch}-{sequence:09d}"
        if not self.spool.put(name, encode(producer, epoch, sequence, rows)):
            self.producer.sequence -= 1
            self.last_problem = f"cannot write to {self.spool.directory}"
            self.folding.add(rows)

    def work(self, until_s: float | None = None) -> bool:  # noqa: ARG002 -- the shape of ServerDelivery.work
        """Write what could not be written before; True when nothing is left."""
        if not self.folding.is_empty():
            self.put([])
        return self.folding.is_empty()

    def close(self) -> int:
        """Number of totals that could not be written."""
        return 0 if self.work() else len(self.folding.take())


def _open_spool(settings: Settings) -> Spool | None:
    """The spool of this destination: batches left there by an earlier run go to the same server and no other."""
    place = "".join(letter if letter.isalnum() else "_" for letter in settings.to)
    base = settings.spool or os.path.join(os.path.expanduser("~"), ".local", "state", "metercast", "spool")
    try:
        return Spool(os.path.join(base, place), settings.spool_limit_bytes, COLUMNS_SUFFIX)
    except OSError:
        return None
