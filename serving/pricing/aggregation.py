"""How a meter makes one quantity of a period's usage: sum, count, max, latest, distinct values, levels over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from serving.pricing.money import PRECISION
from serving.pricing.usage import Period

NANOSECONDS = 1_000_000_000
ADDITIVE = frozenset({"sum", "count"})
"""Aggregations for which parts of a period add up to the whole."""

WHOLE_PERIOD = frozenset({"percentile", "time_weighted_average", "weighted_sum"})
"""Aggregations that look at the period as a whole and not at buckets one by one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a record measured: the value of all its ``events`` together, and the dimensions it is told apart by."""

    start_ns: int
    value: Decimal
    events: int = 1
    group: tuple[str, ...] = ()
    entity: str = ""

    @property
    def level(self) -> Decimal:
        """The value of one event: a record of several stands for their mean."""
        return self.value if self.events == 1 else PRECISION.divide(self.value, Decimal(self.events))


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A kind of `KINDS`; ``of`` names the dimension whose distinct values count, ``percent`` the percentile.

    With ``bucket_s`` the kind is taken in every bucket of that many seconds, counted from the period's start, and
    the buckets are added up (a percentile is one over its buckets, empty ones among them); with ``group_by`` it is
    taken for every combination of those dimensions, and added up.
    """

    kind: str = "sum"
    of: str = ""
    percent: Decimal = Decimal(95)
    bucket_s: int | None = None
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for unknown kinds, percentiles outside (0, 100] and what does not fit the kind."""
        if self.kind not in KINDS:
            raise ValueError(f"aggregation {self.kind!r} is unknown; one of {', '.join(KINDS)}")
        if not 0 < self.percent <= 100:
            raise ValueError(f"a percentile of {self.percent}; above 0 and up to 100 is allowed")
        if self.bucket_s is not None and self.bucket_s <= 0:
            raise ValueError(f"buckets of {self.bucket_s} s; they must be longer than 0")
        if (self.kind == "unique_count") != bool(self.of):
            raise ValueError("`of` names the dimension whose distinct values unique_count counts, and nothing else")

    @property
    def additive(self) -> bool:
        """Whether parts of the usage add up to the whole."""
        return self.kind in ADDITIVE

    def quantity(self, samples: Sequence[Sample], period: Period) -> Decimal:
        """The period's quantity; the order of samples does not matter, 0 without any."""
        groups: dict[tuple[object, ...], list[Sample]] = {}
        bucketed = self.bucket_s is not None and self.kind not in (
            "percentile",
            "time_weighted_average",
            "weighted_sum",
        )
        for sample in samples:
            bucket = (sample.start_ns - period.start_ns) // (self.bucket_s * NANOSECONDS) if bucketed else 0  # type: ignore[operator]
            groups.setdefault((bucket, *sample.group), []).append(sample)
        total = Decimal(0)
        for rows in groups.values():
            ordered = sorted(rows, key=lambda row: (row.start_ns, row.value, row.entity))
            total = PRECISION.add(total, KINDS[self.kind](self, ordered, period))
        return total

    def percentile(self, rows: Sequence[Sample], period: Period) -> Decimal:
        """Nearest rank over the sums of all buckets of the period (default: 5 minutes), as bandwidth is billed."""
        length = (self.bucket_s or 300) * NANOSECONDS
        sums: dict[int, Decimal] = {}
        for row in rows:
            place = (row.start_ns - period.start_ns) // length
            sums[place] = PRECISION.add(sums.get(place, Decimal(0)), row.value)
        count = -(-(period.end_ns - period.start_ns) // length)
        rank = int(PRECISION.multiply(Decimal(count), self.percent / 100).to_integral_value("ROUND_CEILING"))
        empty = count - len(sums)
        return Decimal(0) if rank <= empty else sorted(sums.values())[rank - empty - 1]


def _sum(_how: Aggregation, rows: Sequence[Sample], _period: Period) -> Decimal:
    total = Decimal(0)
    for row in rows:
        total = PRECISION.add(total, row.value)
    return total


def _count(_how: Aggregation, rows: Sequence[Sample], _period: Period) -> Decimal:
    return Decimal(sum(row.events for row in rows))


def _average(_how: Aggregation, rows: Sequence[Sample], _period: Period) -> Decimal:
    return PRECISION.divide(_sum(_how, rows, _period), _count(_how, rows, _period))


def _time_weighted(_how: Aggregation, rows: Sequence[Sample], period: Period) -> Decimal:
    """A level holds until the next one of its group, and is 0 before the first."""
    if not rows:
        return Decimal(0)
    area = Decimal(0)
    for row, following in pairwise([*rows, None]):
        end_ns = following.start_ns if following is not None else period.end_ns
        if row is not None:
            area = PRECISION.add(area, PRECISION.multiply(row.level, Decimal(end_ns - row.start_ns)))
    return PRECISION.divide(area, Decimal(period.end_ns - period.start_ns))


def _weighted_sum(_how: Aggregation, rows: Sequence[Sample], period: Period) -> Decimal:
    """Every value counts for the share of the period that is left: changes of a level, where others send levels."""
    whole, total = Decimal(period.end_ns - period.start_ns), Decimal(0)
    for row in rows:
        total = PRECISION.add(total, PRECISION.multiply(row.value, Decimal(period.end_ns - row.start_ns)))
    return PRECISION.divide(total, whole)


KINDS: dict[str, Callable[[Aggregation, Sequence[Sample], Period], Decimal]] = {
    "sum": _sum,
    "count": _count,
    "max": lambda _how, rows, _period: max(row.level for row in rows),
    "latest": lambda _how, rows, _period: rows[-1].level,
    "average": _average,
    "unique_count": lambda _how, rows, _period: Decimal(len({row.entity for row in rows})),
    "time_weighted_average": _time_weighted,
    "weighted_sum": _weighted_sum,
    "percentile": Aggregation.percentile,
}
"""Name in a plan file -> what it does with the samples of one bucket and group, in the order of time."""
