"""Planned events as models see them: when they are, which series they concern, and since when they were known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Times = NDArray[np.int64]
Event = tuple[str, str, int, int, int, int]
"""User and operation, either of which may be `*`, start, end, and when it was entered and removed, in nanoseconds."""

NEVER_NS = 2**62
"""The time of removal of an event that was not taken out."""

ALL, SEPARATOR = "*", "|"


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """Events, each from a start to an end, in Unix nanoseconds (events,); ``applies`` (events, series).

    An event is known from when it was entered to when it was removed: a forecast made before or after does not see it.
    """

    starts_ns: Times
    ends_ns: Times
    entered_ns: Times
    removed_ns: Times
    applies: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check the sizes; raises ValueError naming them."""
        sizes = {len(part) for part in (self.starts_ns, self.ends_ns, self.entered_ns, self.removed_ns)}
        if self.applies.ndim != 2 or sizes != {len(self.applies)}:
            raise ValueError(
                f"planned events have {sorted(sizes)} times and apply to {self.applies.shape}; give each a start, an "
                "end, when it was entered and removed, and a row of (events, series)"
            )

    @classmethod
    def of_events(cls, events: Sequence[Event], series: Sequence[str]) -> Planned | None:
        """The events that concern series, named user, operation and more; None where none does."""
        owners = [tuple(name.split(SEPARATOR)[:2]) for name in series]
        found = [(event, [_concerns(event, owner) for owner in owners]) for event in events]
        found = [(event, mine) for event, mine in found if any(mine)]
        if not found:
            return None
        applies = np.array([mine for _, mine in found], dtype=bool)
        starts, ends, entered, removed = np.array([event[2:] for event, _ in found], dtype=np.int64).T.copy()
        return cls(starts, ends, entered, removed, applies)

    def known_at(self, now_ns: int) -> Planned:
        """The events that stood in the calendar then, without a word of what was entered or removed later."""
        known = (self.entered_ns <= now_ns) & (self.removed_ns > now_ns)
        removed = np.full(int(known.sum()), NEVER_NS, dtype=np.int64)
        times = self.starts_ns[known], self.ends_ns[known], self.entered_ns[known], removed
        return Planned(*times, self.applies[known])

    def of(self, rows: NDArray[np.int64]) -> Planned:
        """Those of some series."""
        return replace(self, applies=self.applies[:, rows])

    def shares(self, rows: NDArray[np.int64], cuts_ns: Times, ahead_ns: Times, window_ns: int) -> Array:
        """How much of each window (batch, horizon), starting at ``ahead_ns``, is planned: from 0 to 1.

        A row of the batch is a series of ``rows`` (batch) as seen at ``cuts_ns`` (batch).
        """
        out = np.zeros(ahead_ns.shape)
        for place in range(len(self.starts_ns)):
            seen = self.applies[place, rows] & (self.entered_ns[place] <= cuts_ns) & (self.removed_ns[place] > cuts_ns)
            if seen.any():
                begin = np.maximum(ahead_ns[seen], self.starts_ns[place])
                end = np.minimum(ahead_ns[seen] + window_ns, self.ends_ns[place])
                out[seen] += np.maximum(end - begin, 0) / window_ns
        return np.minimum(out, 1.0)

    def content(self) -> bytes:
        """What tells these events from others."""
        times = self.starts_ns, self.ends_ns, self.entered_ns, self.removed_ns
        return b"".join(part.tobytes() for part in (*times, self.applies))


def _concerns(event: Event, owner: tuple[str, ...]) -> bool:
    """Whether an event is of a series of this user and operation."""
    return len(owner) == 2 and event[0] in (ALL, owner[0]) and event[1] in (ALL, owner[1])
