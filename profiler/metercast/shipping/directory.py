"""Leaves batches as files in a directory, as JSON that anything can read."""

from __future__ import annotations

from metercast.shipping.batch import encode
from metercast.shipping.folding import Amounts, Folding
from metercast.shipping.spool import JSON_SUFFIX, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from metercast.shipping.batch import Row
    from metercast.shipping.journal import Journal, Lost
    from metercast.shipping.producer import Producer


class DirectoryDelivery:
    """Leaves every batch as a file; without room on the disk only totals are kept, for the next try."""

    def __init__(self, directory: str, producer: Producer) -> None:
        self.spool = Spool(directory, suffix=JSON_SUFFIX)
        self.producer = producer
        self.folding = Folding()
        self.journal: Journal | None = None
        self._folded_records = 0
        self.lost = Amounts()
        self.refused = Amounts()
        self.last_problem = ""
        self.keep_from_s = float("inf")
        self.while_waiting: Callable[[], None] | None = None

    def put(self, rows: list[Row], records: int = 0) -> None:
        """Write the events as one batch; they stand for so many of the engine's records."""
        rows = rows + self.folding.take()
        records, self._folded_records = records + self._folded_records, 0
        producer, epoch, sequence = self.producer.next()
        name, journal = f"{producer}-{epoch}-{sequence:09d}", self.journal
        intend = None if journal is None else lambda: journal.intend(records, sequence)
        if self.spool.put(name, encode(producer, epoch, sequence, rows), before_naming=intend):
            self.last_problem = ""
            if journal is not None:
                journal.account(records)
        else:
            self.producer.take_back()
            self.last_problem = self.spool.last_problem
            self.folding.add(rows)
            self._folded_records = records

    def is_waiting(self) -> bool:
        """Whether there is something to be written again."""
        return not self.folding.is_empty()

    def work(self, until_s: float | None = None) -> bool:  # noqa: ARG002 -- the shape of ServerDelivery.work
        """Write what could not be written before; True when nothing is left."""
        if not self.folding.is_empty():
            self.put([])
        return self.folding.is_empty()

    def keep_for(self, killed: Lost, sequence: int, rows: list[Row]) -> bool:
        """Write a batch of a killed process; False when the disk has no room."""
        body = encode(killed.name, killed.epoch, sequence, rows)
        return self.spool.put(f"{killed.name}-{killed.epoch}-{sequence:09d}", body)

    def reached(self) -> tuple[int, int]:
        """What changes while it gets on."""
        return self.producer.sequence, 0

    def give_up(self) -> Amounts:
        """What is in memory only, for when the shipping thread hangs; it is not written any more."""
        return Amounts(self.folding.take())

    def close(self, step: AbstractContextManager[object]) -> None:
        """Try once more; what cannot be written now is lost, and counted."""
        with step:
            if not self.work():
                self.lost.add(Amounts(self.folding.take()))
