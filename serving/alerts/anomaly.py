"""An anomaly: a stretch of time in which somebody used more, or paid more, than they should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from serving.alerts.wording import UNITS, quantity, resource_name

EVERYONE = "*"
"""The user of an anomaly that concerns all of an operation's users."""

WHOLE = "*"
"""The operation of an anomaly that concerns all operations of a user, and the micro-operation of one that is money."""

SPEND_A_RUN, SPEND = "spend a run", "spend"
"""Resources of the series that are money: of one run of an operation, and of a window."""

KINDS = ("surge", "drift", "new", "price")
"""A jump beyond what is usual; a level that crept up; spend of somebody who has no past; a unit that costs more."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One episode; figures are of one run of the operation, in the resource that stood out most.

    ``excess`` maps (micro-operation type, resource) to what was used beyond the expected, in the resource's own unit.
    ``shares`` maps (what, name) of users, operations or micro-operations beneath to their part of the excess.
    ``usual`` is what each of them was expected to use a run when it first stood out: later the baselines have seen it.
    ``view`` is the detector's view that fired. ``paged_ns`` is when the episode passed the money gate; None before.
    ``dearest_window`` is the most that one window of it cost.
    """

    id: str
    user: str
    operation: str
    micro_operation_type: str
    resource: str
    started_ns: int
    last_ns: int
    ended_ns: int | None
    score: float
    observed: float
    expected: tuple[float, float, float]
    excess: Mapping[tuple[str, str], float] = field(default_factory=dict)
    cost: Decimal | None = None
    currency: str = ""
    verdict: str = ""
    kind: str = "surge"
    view: str = ""
    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)
    usual: Mapping[tuple[str, str], float] = field(default_factory=dict)
    paged_ns: int | None = None
    dearest_window: Decimal = Decimal(0)

    @property
    def reason(self) -> str:
        """One sentence that says what stood out."""
        middle = self.expected[1]
        whom = "" if self.user == EVERYONE else f" for {self.user}"
        if self.kind == "new":
            what = "everything" if self.operation == WHOLE else self.operation
            return f"{what}{whom} is new: there is no past that its spend could be compared with"
        times = f"{self.observed / middle:.1f} times" if middle > 0 else "far above"
        is_money = self.resource in (SPEND, SPEND_A_RUN)
        unit = self.currency if is_money else "" if self.kind == "price" else UNITS.get(self.resource, "")
        figures = f"({quantity(self.observed, unit)} against {quantity(middle, unit)})"
        if self.kind == "price":
            rise = f"{100 * (self.observed / middle - 1):.0f} %" if middle > 0 else "from nothing"
            return (
                f"the price of {resource_name(self.resource)} of {self.micro_operation_type} rose by {rise} {figures}"
            )
        if is_money:
            what = "all operations" if self.operation == WHOLE else self.operation
            rate = " a run" if self.resource == SPEND_A_RUN else ""
            return f"{what}{whom} cost {times} the usual{rate} {figures}"
        verb = "crept up to" if self.kind == "drift" else "used"
        what = f"{resource_name(self.resource)} of {self.micro_operation_type}"
        return f"{self.operation}{whom} {verb} {times} the usual {what} a run {figures}"

    @property
    def hours(self) -> float:
        """How long it has been going on."""
        return max((self.last_ns - self.started_ns) / 3.6e12, 1e-9)

    @property
    def cost_per_hour(self) -> Decimal | None:
        """What it has cost an hour so far."""
        return None if self.cost is None else (self.cost / Decimal(f"{self.hours:.9f}")).quantize(Decimal("0.000001"))

    @property
    def causes(self) -> list[tuple[str, str, float]]:
        """(what, name, share of the excess) of what lies beneath, greatest first; shares of a kind sum to one."""
        totals: dict[str, float] = {}
        for (what, _), amount in self.shares.items():
            totals[what] = totals.get(what, 0.0) + max(amount, 0.0)
        ranked = sorted(self.shares.items(), key=lambda item: -item[1])
        return [(what, name, amount / totals[what]) for (what, name), amount in ranked if amount > 0]
