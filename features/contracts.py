"""What an event log promises, whatever holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import pyarrow as pa

EVENT_IDS_KEPT = 1_000_000
"""So many event ids are remembered; an event that is sent again after so many others counts twice."""


class Outcome(Enum):
    """What became of an appended batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class LogUnavailableError(RuntimeError):
    """The log cannot make anything durable now (disk full, database away); nothing of the call was kept."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch; ``duplicate_rows`` of an accepted one were left out, as their event ids were known."""

    outcome: Outcome
    duplicate_rows: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one producer under one unique (producer, epoch, sequence); rows in the columns of `features.schema`.

    ``event_ids`` are for senders without sequences: empty, or one a row, 16 bytes each, b"" for a row without an id.
    """

    producer: str
    epoch: int
    sequence: int
    rows: pa.RecordBatch
    event_ids: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """A durable batch and its place in the log; offsets rise without gaps that a reader could miss."""

    offset: int
    received_ns: int
    batch: Batch


class EventLog(Protocol):
    """A durable, append-only, idempotent log of batches."""

    def append(self, batches: Sequence[Batch]) -> list[Receipt]:
        """Make the batches durable in one transaction; same key and body: DUPLICATE, same key only: CONFLICT.

        Rows whose event id is among the last `EVENT_IDS_KEPT` are left out. Raises LogUnavailableError.
        """
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
