"""Futures of a user's usage: what was metered plus sampled paths of what is to come, at moments on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.accounts.commerce import Commerce
from serving.champion import ChampionWatch
from serving.estimating.forecasting import Model
from serving.pricing.paths import Means, PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.storage.history import History

Usage = NDArray[np.float64]


class Sources(Protocol):
    """What an estimate rests on; the running platform is one."""

    @property
    def history(self) -> History:
        """Closed windows of usage."""
        ...

    @property
    def champion(self) -> ChampionWatch:
        """The model in force."""
        ...

    @property
    def plans(self) -> Mapping[str, Plan]:
        """Price plans by their id."""
        ...

    @property
    def commerce(self) -> Commerce:
        """Published prices and what holds for customers."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Whose bill, over which period, as seen at which moment; all times in Unix nanoseconds."""

    user: str
    start_ns: int
    end_ns: int
    now_ns: int
    window_s: int
    paths: int = 1_000
    budget: Decimal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a period that ends before it starts or before now, or too few paths."""
        if not self.start_ns < self.end_ns:
            raise ValueError(f"the period ends at {self.end_ns} ns, not after its start at {self.start_ns} ns")
        if not 10 <= self.paths <= 100_000:
            raise ValueError(f"{self.paths} sample paths; between 10 and 100000 are allowed")


@dataclass(frozen=True, slots=True)
class Span:
    """Windows to come: the end of the last closed one, the length of each (both in nanoseconds), and how many."""

    until_ns: int
    window_ns: int
    horizon: int

    def at_ns(self, step: int) -> int:
        """The end of the first ``step`` windows."""
        return self.until_ns + step * self.window_ns


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Usage of the period up to a moment on every path, (paths, columns), and mean factors by plan and charge."""

    at_ns: int
    usage: Usage
    factors: Mapping[str, Means] = field(default_factory=dict)

    def costs(self, plan: Plan, columns: Sequence[UsageColumn]) -> PathCosts:
        """The bill up to the moment on every path; raises what `rate_paths` raises."""
        return rate_paths(plan, columns, self.usage, self.factors.get(plan.id))


@dataclass(frozen=True, slots=True)
class Futures:
    """Usage so far (one path), at the period's end, in an hour and a day (inside the period), and on the way.

    ``columns`` are those that some plan prices; windows that start before ``spent_until_ns`` hold what makes the spend
    so far. Checkpoints soon and on the way hold the first paths only.
    """

    columns: tuple[UsageColumn, ...]
    now: Checkpoint
    end: Checkpoint
    data_until_ns: int
    spent_until_ns: int
    model: Model
    soon: Mapping[str, Checkpoint] = field(default_factory=dict)
    way: tuple[Checkpoint, ...] = ()
