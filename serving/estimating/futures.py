"""Futures of a user's usage: what was metered plus sampled paths of what is to come, at moments on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.accounts.commerce import Commerce
from serving.champion import ChampionWatch
from serving.estimating.forecasting import Model
from serving.pricing.paths import Means, PathCosts, UsageColumn
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versioned_plan import VersionedPlan
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
        """Price plans by their id, in the version in force now."""
        ...

    def versions(self, plan_id: str, user: str, period: Period) -> Sequence[Plan]:
        """The versions of a plan in force somewhere in a period, as they are for a customer, the earliest first."""
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

    @property
    def period(self) -> Period:
        """The period of the bill."""
        return Period(self.start_ns, self.end_ns)


@dataclass(frozen=True, slots=True)
class Span:
    """Windows to come: the end of the last closed one, the length of each (both in nanoseconds), and how many."""

    until_ns: int
    window_ns: int
    horizon: int

    def at_ns(self, step: int) -> int:
        """The end of the first ``step`` windows."""
        return self.until_ns + step * self.window_ns

    def before(self, at_ns: int) -> Usage:
        """The share of every window that lies before an instant: usage inside a window is taken to be even."""
        passed: Usage = np.clip((at_ns - self.until_ns) / self.window_ns - np.arange(self.horizon), 0.0, 1.0)
        return passed


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Usage of the period up to a moment on every path, (paths, columns), and mean factors by version and charge.

    ``before`` holds what of it was used before each instant at which prices change, (paths or 1, columns).
    """

    at_ns: int
    usage: Usage
    factors: Mapping[tuple[str, int], Means] = field(default_factory=dict)
    before: Mapping[int, Usage] = field(default_factory=dict)

    def by_version(self, plan: VersionedPlan) -> list[Usage]:
        """Usage in each slice of a plan, (paths, columns); one row where it is the same on all paths."""
        ends = [*(self.before[cut] for cut in plan.cuts_ns), self.usage]
        parts = [ends[0], *(np.maximum(end - start, 0.0) for start, end in pairwise(ends))]
        return [part if part.any() else part[:1] for part in parts] if len(parts) > 1 else parts

    def costs(self, plan: VersionedPlan, columns: Sequence[UsageColumn]) -> PathCosts:
        """The bill of the period with the usage up to the moment, on every path.

        Raises what `serving.pricing.paths.rate_paths` raises.
        """
        means = [self.factors.get((plan.id, version.version)) for version in plan.plans]
        return plan.rate_paths(columns, self.by_version(plan), means)


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


class UnknownPlanError(KeyError):
    """No plan of that id; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_known(sources: Sources, plan_ids: Iterable[str]) -> None:
    """Raises UnknownPlanError, which lists the plans there are, for one that is none of them."""
    for plan_id in plan_ids:
        if plan_id not in sources.plans:
            raise UnknownPlanError(f"no plan {plan_id!r}; there are {', '.join(sorted(sources.plans)) or 'none'}")


def versioned_plan(sources: Sources, plan_id: str, user: str, period: Period) -> VersionedPlan:
    """A plan as it is for a customer over a period; raises UnknownPlanError."""
    check_known(sources, [plan_id])
    return VersionedPlan.over(sources.versions(plan_id, user, period), period)
