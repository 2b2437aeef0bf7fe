"""Takes wrong events back: batches of the same rows with their amounts below zero, in the log behind the wrong ones.

So everything that is computed from the log agrees: windows that were closed are revised, a draft or a correction of an
invoice rates what remains, and an invoice that was issued can still be made again as of its offset. The key of such a
batch follows from the batch it is about: doing it again, or on two servers at once, takes nothing back twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from features.contracts import Batch, EventLog, Outcome
from features.database import Connection
from features.retracted import is_retraction, remaining, retraction_name, taken_back
from features.schema import ARROW_SCHEMA, NEWEST_S
from features.stored_rows import decode
from features.windows import RESOURCES, RETRACTION
from serving.storage.archive import Archive

_PAGE = 64
_ATTEMPTS = 8
_USERS_SHOWN = 100
_NAMES = ("producer", "user_id", "operation_id", "micro_operation_type", "meter")
_KEY = ("producer", "epoch", "sequence")
_END_NS = 2**63 - 1

Told = Callable[[int], object]


class RetractionError(ValueError):
    """Events cannot be taken back as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events were wrong: those that have every name given, in [start_ns, end_ns) of event time.

    Raises RetractionError where no name is given, or an epoch or sequence without the producer they are of.
    """

    producer: str = ""
    epoch: int | None = None
    sequences: tuple[int, int] | None = None
    user_id: str = ""
    operation_id: str = ""
    micro_operation_type: str = ""
    meter: str = ""
    start_ns: int = 0
    end_ns: int = _END_NS

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in _NAMES):
            raise RetractionError("say which events were wrong: by producer, user, operation, type or meter")
        if not self.producer and (self.epoch is not None or self.sequences is not None):
            raise RetractionError("an epoch or a sequence is one of a producer; name the producer too")
        if self.producer.startswith(RETRACTION):
            raise RetractionError(
                f"producer {self.producer!r:.80} is a retraction itself; to count its events again, send them again"
            )
        if self.start_ns >= self.end_ns:
            raise RetractionError("the span is empty: its start must lie before its end")

    def rows(self) -> pl.Expr:
        """The condition on a row."""
        at = pl.col("timestamp").cast(pl.Int64)
        parts = [~is_retraction(), at >= self.start_ns, at < self.end_ns]
        parts += [pl.col(name) == value for name in _NAMES if (value := getattr(self, name))]
        if self.epoch is not None:
            parts.append(pl.col("epoch") == self.epoch)
        if self.sequences is not None:
            parts.append(pl.col("sequence").is_between(*self.sequences))
        return pl.all_horizontal(parts)


@dataclass(slots=True)
class Retracted:
    """What was taken back: batches, events and sums of usage by column; ``before`` counts events of earlier times."""

    batches: int = 0
    events: int = 0
    before: int = 0
    usage: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RESOURCES, 0))
    users: set[str] = field(default_factory=set)
    first_ns: int = _END_NS
    last_ns: int = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Count rows of one more batch."""
        self.batches += 1
        self.events += rows.height
        for name in RESOURCES:
            total: Any = rows[name].sum()
            self.usage[name] = round(self.usage[name] + total, 6)
        self.users |= set(rows["user_id"].unique().to_list())
        stamps = rows["timestamp"].cast(pl.Int64).to_numpy()
        self.first_ns, self.last_ns = min(self.first_ns, int(stamps.min())), max(self.last_ns, int(stamps.max()))

    def document(self) -> dict[str, Any]:
        """As JSON; of users at most the first hundred."""
        return {
            "batches": self.batches,
            "events": self.events,
            "events_retracted_before": self.before,
            "users": sorted(self.users)[:_USERS_SHOWN],
            "usage": self.usage,
            "first": _iso(self.first_ns) if self.events else None,
            "last": _iso(self.last_ns) if self.events else None,
        }


class Retraction:
    """Takes events back in a log that is asked by ``connection``; use it from one thread."""

    def __init__(self, log: EventLog, connection: Connection, archive: Archive) -> None:
        self._log, self._connection, self._archive = log, connection, archive

    def take_back(self, wrong: Selection, only_count: bool = False, told: Told = lambda _events: None) -> Retracted:
        """Take back what is left of the selected events; ``told`` hears how many those were so far.

        Each batch commits by itself; whatever interrupts this, doing it again goes on. Raises RetractionError,
        CorruptBatchError and LogUnavailableError.
        """
        done = Retracted()
        for rows in self._selected(wrong):
            left = self._left(rows) if only_count else self._taken(rows)
            done.before += rows.height - left.height
            if left.height:
                done.add(left)
                told(done.events)
        return done

    def _taken(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Take back what is left of some rows of a batch; returns that."""
        for _ in range(_ATTEMPTS):
            earlier = list(self._earlier(rows))
            left = remaining(rows, _joined(earlier, rows))
            if left.is_empty():
                return left
            receipt = self._log.append([_batch(taken_back(left, len(earlier) + 1))])[0]
            if receipt.outcome is Outcome.ACCEPTED:
                return left
        raise RetractionError("others take events of the same batch back at the moment; try again")

    def _left(self, rows: pl.DataFrame) -> pl.DataFrame:
        return remaining(rows, _joined(list(self._earlier(rows)), rows))

    def _earlier(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows that took events of this batch back before, a batch of them each."""
        producer, epoch, sequence = rows.select(_KEY).row(0)
        query = "SELECT log_offset, digest, body FROM log WHERE producer = ? AND epoch = ? AND sequence = ?"
        number = 1
        while found := self._connection.execute(query, (retraction_name(producer, number), epoch, sequence)).fetchone():
            offset, digest, body = found
            if body:
                yield _frame(decode(body, digest, f"batch at offset {offset}"))
            else:
                name = pl.col("producer") == retraction_name(producer, number)
                mine = name & (pl.col("epoch") == epoch) & (pl.col("sequence") == sequence)
                yield self._archive.scan().filter(mine).collect().cast(rows.schema)
            number += 1

    def _selected(self, wrong: Selection) -> Iterator[pl.DataFrame]:
        """The selected rows, batch by batch, of log and archive."""
        until = int(self._connection.execute("SELECT coalesce(max(log_offset), 0) FROM log").fetchone()[0])
        where, values = ["log_offset > ?", "log_offset <= ?", "length(body) > 0", "received_ns >= ?"], [0, until]
        # No event is accepted that is further ahead of its receipt.
        values.append(wrong.start_ns - NEWEST_S * 1_000_000_000)
        for name in ("producer", "epoch"):
            if getattr(wrong, name) not in ("", None):
                where.append(f"{name} = ?")
                values.append(getattr(wrong, name))
        if wrong.sequences is not None:
            where.append("sequence BETWEEN ? AND ?")
            values += wrong.sequences
        query = f"SELECT log_offset, digest, body FROM log WHERE {' AND '.join(where)} ORDER BY log_offset LIMIT ?"  # noqa: S608
        while page := self._connection.execute(query, (*values, _PAGE)).fetchall():
            values[0] = page[-1][0]
            for offset, digest, body in page:
                rows = _frame(decode(body, digest, f"batch at offset {offset}")).filter(wrong.rows())
                if rows.height:
                    yield rows
        # The archive comes second: what is moved into it meanwhile is found there.
        archived = self._archive.scan().filter(wrong.rows()).collect()
        yield from archived.partition_by(_KEY, maintain_order=True)


def listed(connection: Connection, limit: int, before: int = _END_NS) -> list[dict[str, object]]:
    """Retractions before an offset, latest first: offset, the batch that each is about, events, and when."""
    query = (
        "SELECT log_offset, producer, epoch, sequence, events, received_ns FROM log "
        "WHERE producer LIKE ? AND log_offset < ? ORDER BY log_offset DESC LIMIT ?"
    )
    names = ("offset", "producer", "epoch", "sequence", "events", "received_ns")
    rows = connection.execute(query, (f"{RETRACTION}%", before, limit)).fetchall()
    return [dict(zip(names, (row[0], row[1].split("-", 2)[2], *row[2:]), strict=True)) for row in rows]


def _joined(parts: list[pl.DataFrame], like: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(parts) if parts else like.clear()


def _frame(rows: pa.RecordBatch) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))


def _batch(rows: pl.DataFrame) -> Batch:
    table = rows.select(ARROW_SCHEMA.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ARROW_SCHEMA)
    producer, epoch, sequence = rows.select(_KEY).row(0)
    return Batch(producer, epoch, sequence, table.combine_chunks().to_batches()[0])


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds")
