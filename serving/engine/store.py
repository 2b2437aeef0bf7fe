"""What the engine needs of a database: its state back after a start, and one transaction for everything of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from features.window_rows import WindowRows


class FencedError(RuntimeError):
    """Another worker has taken over this database; this one must stop writing."""


class ErasedError(RuntimeError):
    """What this step read may hold erased data; nothing of it was written."""


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series that a step saw first: its number, its shard and its key (`features.windows.KEYS`)."""

    number: int
    shard: int
    key: tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class WindowWrite:
    """What a step changes in the windows of one length. All rows are sums to add; what is kept is their total.

    ``opened`` are additions to windows that are still open. Where ``replaces_open``, they are all open windows there
    are, and what was kept as open before is dropped: ``closed`` has it. ``closed`` are, by shard, windows that closed
    in this step, whole, and what came late for windows that had closed before.
    """

    window_s: int
    opened: WindowRows
    replaces_open: bool
    closed: Mapping[int, WindowRows]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything of a step that commits together.

    ``document`` is JSON (offset, watermark ...); ``baselines`` are the shards whose baselines changed, encoded.
    """

    document: str
    new_series: Sequence[NewSeries]
    windows: Sequence[WindowWrite]
    baselines: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds of an engine: ``document`` is None before the first step.

    ``next_series`` is the number of the next new series; one that was erased is never used again.
    """

    document: str | None
    next_series: int
    series: Sequence[NewSeries]
    open_windows: Mapping[int, Sequence[WindowRows]]
    baselines: Mapping[int, bytes]


class EngineStore(Protocol):
    """Keeps an engine's state and windows; all writing happens inside `transaction`.

    A store is used by one thread. Readers beside the engine see only what was committed.
    """

    is_shared: bool
    """Whether several workers may wait on one database for their turn."""

    def lead(self) -> bool:
        """Whether this worker may run now; of those that share a database one may."""
        ...

    def take_over(self) -> None:
        """Take a new fencing epoch: from here on, whoever had taken over before fails to write."""
        ...

    def load(self) -> Kept:
        """The state as it was last committed, in one snapshot."""
        ...

    def last_erasure(self) -> int:
        """Number of the latest erasure of a person's data, 0 before the first."""
        ...

    def reader(self) -> Any:
        """The connection for hooks to read by before `transaction`; it holds up nobody."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """One transaction, committed durably at its end or undone by an exception; gives the connection for hooks.

        Nobody else writes, and nobody erases, between its begin and its end.
        """
        ...

    def prepared(self, checkpoint: Checkpoint) -> Any:
        """What `write` needs of a step, computed and encoded before the transaction: that keeps all others waiting."""
        ...

    def write(self, step: Any) -> None:
        """Inside `transaction`: what was `prepared`; raises FencedError when another worker has taken over."""
        ...

    def tidy(self, step: Any) -> None:
        """After a step was committed: put what has gathered in order, in short transactions of their own."""
        ...

    def close(self) -> None:
        """Release what the store holds."""
        ...
