"""What an event log promises, whatever holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import pyarrow as pa


class Outcome(Enum):
    """What became of an appended batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one producer under one unique (producer, epoch, sequence); rows in the columns of `features.schema`."""

    producer: str
    epoch: int
    sequence: int
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """A durable batch and its place in the log; offsets rise without gaps that a reader could miss."""

    offset: int
    received_ns: int
    batch: Batch


class EventLog(Protocol):
    """A durable, append-only, idempotent log of batches."""

    def append(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Make the batches durable in one transaction; same key and body: DUPLICATE, same key only: CONFLICT."""
        ...

    def read(self, after_offset: int, limit: int) -> list[LoggedBatch]:
        """The next batches after an offset (0 = from the start), at most ``limit``."""
        ...

    def last_offset(self) -> int:
        """Offset of the newest batch, 0 when empty."""
        ...

    def close(self) -> None:
        """Release what the log holds."""
        ...
