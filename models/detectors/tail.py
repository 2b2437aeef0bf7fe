"""How rare a distance is: the greatest ones seen so far, and a power law beyond them.

Beyond its K-th greatest record u, a distance z is as rare as K / n (z / u)^-index; the index is Hill's estimate from
the records (Hill, 1975) with a prior. Records age by rotation: those of the stretch before the present one still count,
older ones do not, or a busy series would go deaf.
"""

from __future__ import annotations

import math

RECORDS = 12
STRETCH = 5_000
"""Values after which records rotate."""

PRIOR_COUNT, PRIOR_INDEX = 4.0, 3.0
LEAST_COUNT = 20


class Tail:
    """Records of distances >= 0 of one view of one series."""

    __slots__ = ("before", "before_count", "count", "records")

    def __init__(self) -> None:
        self.records: list[float] = []
        self.count = 0
        self.before: list[float] = []
        self.before_count = 0

    def surprise(self, distance: float) -> float:
        """-log of the chance of so great a distance, in nats; 0 for one below the K-th record."""
        seen = self.count + self.before_count
        if seen < LEAST_COUNT:
            return 0.0
        greatest = sorted(self.records + self.before, reverse=True)[:RECORDS]
        least = max(greatest[-1], 1e-12)
        if distance <= least:
            return 0.0
        spread = sum(math.log(record / least) for record in greatest if record > least)
        index = (len(greatest) + PRIOR_COUNT) / (spread + PRIOR_COUNT / PRIOR_INDEX)
        return math.log((seen + 1) / len(greatest)) + index * math.log(distance / least)

    def learn(self, distance: float) -> None:
        """Take a distance in."""
        self.count += 1
        if len(self.records) < RECORDS:
            self.records.append(distance)
            self.records.sort(reverse=True)
        elif distance > self.records[-1]:
            self.records[-1] = distance
            self.records.sort(reverse=True)
        if self.count >= STRETCH:
            self.before, self.before_count = self.records, self.count
            self.records, self.count = [], 0

    def dump(self) -> list[float]:
        """Counts and records as `load` takes them, always of one length."""
        pad = [-1.0] * RECORDS
        return [self.count, self.before_count, *(self.records + pad)[:RECORDS], *(self.before + pad)[:RECORDS]]

    @classmethod
    def load(cls, numbers: list[float]) -> Tail:
        """The tail that `dump` described."""
        tail = cls()
        tail.count, tail.before_count = int(numbers[0]), int(numbers[1])
        tail.records = [number for number in numbers[2 : 2 + RECORDS] if number >= 0]
        tail.before = [number for number in numbers[2 + RECORDS :] if number >= 0]
        return tail
