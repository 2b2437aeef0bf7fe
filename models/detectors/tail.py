"""How rare a distance is: the greatest ones seen so far, and a power law beyond them.

Beyond its K-th greatest record u, a distance z is as rare as K / n (z / u)^-index; the index is Hill's estimate from
the records (Hill, 1975) with a prior. Records age by rotation: those of the stretch before the present one still count,
older ones do not, or a busy series would go deaf. The grain, the smallest step of the series, is added to both sides of
each ratio: twice nothing is no news.
"""

from __future__ import annotations

import math

from models.detectors.views import PRIOR_COUNT, PRIOR_INDEX, RECORDS, STRETCH, TINY, WARM_UP


class Tail:
    """Records of distances >= 0 of one view of one series."""

    __slots__ = ("before", "records", "seen", "seen_before", "union")

    def __init__(
        self, records: list[float] | None = None, before: list[float] | None = None, seen: int = 0, seen_before: int = 0
    ) -> None:
        """Start anew, or go on from saved records (falling, negative where there is none)."""
        self.records = [record for record in records or [] if record >= 0]
        self.before = [record for record in before or [] if record >= 0]
        self.seen, self.seen_before = seen, seen_before
        self.union = self._union()

    def surprise(self, distance: float, grain: float) -> float:
        """-log of the chance of so great a distance, in nats; 0 for one below the K-th record and in the warm-up."""
        seen = self.seen + self.seen_before
        if seen < WARM_UP or distance <= self.union[-1]:
            return 0.0
        least = max(self.union[-1] + grain, TINY)
        raised = self.union if least == self.union[-1] else [max(record + grain, TINY) for record in self.union]
        spread = sum(map(math.log, raised)) - len(raised) * math.log(least)
        index = (RECORDS + PRIOR_COUNT) / (spread + PRIOR_COUNT / PRIOR_INDEX)
        return math.log((seen + 1) / RECORDS) + index * math.log(max(distance + grain, TINY) / least)

    @property
    def threshold(self) -> float:
        """What a distance must exceed to become a record."""
        return self.records[-1] if len(self.records) == RECORDS else -1.0

    def keep(self, distance: float) -> None:
        """Make a distance beyond `threshold` a record."""
        records = self.records
        at = len(records)
        while at and records[at - 1] < distance:
            at -= 1
        records.insert(at, distance)
        del records[RECORDS:]
        self.union = self._union()

    def count(self, values: int) -> None:
        """Count values, records or not; rotate at the end of a stretch, which they must not run over."""
        self.seen += values
        if self.seen >= STRETCH:
            self.before, self.seen_before = self.records, self.seen
            self.records, self.seen = [], 0
            self.union = self._union()

    def learn(self, distance: float) -> None:
        """Take one distance in."""
        if distance > self.threshold:
            self.keep(distance)
        self.count(1)

    def dump(self) -> tuple[list[float], list[float]]:
        """Records of this stretch and of the one before, each of one length."""
        pad = [-1.0] * RECORDS
        return (self.records + pad)[:RECORDS], (self.before + pad)[:RECORDS]

    def _union(self) -> list[float]:
        merged = sorted(self.records + self.before, reverse=True)[:RECORDS]
        return merged if merged else [-1.0]
