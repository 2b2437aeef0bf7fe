"""Service levels: a factor for a promise, and credits with their evidence when the promise is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from serving.pricing.line import Line, deduction
from serving.pricing.money import PRECISION, rounded
from serving.pricing.rate import Invoice

MOST_TOLD = 5
MEASURES = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms", "error_percent")
"""What can be promised: percentiles of the latency of executions, and the share of them that failed, a window."""


@dataclass(frozen=True, slots=True)
class Breach:
    """What was measured over a window of a period, as evidence of a credit."""

    start_ns: int
    end_ns: int
    measure: str
    promised: Decimal
    measured: Decimal


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """``factor`` on prices for ``promises`` (measure -> bound); ``credits`` maps availability bounds to percents.

    Availability is the percent of windows of ``window_s`` with usage in which every promise was kept; the lowest
    bound that it is below gives the percent of the fees to credit, never more than ``cap_percent``.
    """

    id: str
    factor: Decimal = Decimal(1)
    promises: Mapping[str, Decimal] = field(default_factory=dict)
    credits: tuple[tuple[Decimal, Decimal], ...] = ()
    cap_percent: Decimal = Decimal(100)
    window_s: int = 300

    def __post_init__(self) -> None:
        """Raises ValueError for percents outside 0..100."""
        for percent in (self.cap_percent, *(percent for _, percent in self.credits)):
            if not 0 <= percent <= 100:
                raise ValueError(f"service level {self.id!r} credits {percent} %; between 0 and 100 is allowed")

    def at(self, time_ns: int) -> Decimal:  # noqa: ARG002 -- the contract of factors
        """The factor, the same at every instant."""
        return self.factor

    def breaches(self, measured: Mapping[str, Decimal], start_ns: int, end_ns: int) -> list[Breach]:
        """The promised measures that a window exceeded."""
        return [
            Breach(start_ns, end_ns, name, bound, measured[name])
            for name, bound in self.promises.items()
            if name in measured and measured[name] > bound
        ]

    def percent(self, availability: Decimal) -> Decimal:
        """The percent of fees to credit for an availability in percent."""
        reached = [(bound, percent) for bound, percent in self.credits if availability < bound]
        return min(self.cap_percent, min(reached)[1]) if reached else Decimal(0)


def credit_line(level: ServiceLevel, invoice: Invoice, availability: Decimal, breaches: list[Breach]) -> Line | None:
    """The negative line that a broken promise is owed on an invoice; None when the promise was kept."""
    percent = level.percent(availability)
    off = rounded(PRECISION.multiply(max(Decimal(0), invoice.total), percent / 100), invoice.currency)
    if off == 0:
        return None
    told = [f"{b.measure} {b.measured} instead of {b.promised} from {b.start_ns} to {b.end_ns} ns" for b in breaches]
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    evidence = "; ".join(told[:MOST_TOLD] + more)
    formula = f"{percent} % of {invoice.total} for an availability of {availability} %" + (
        f": {evidence}" if evidence else ""
    )
    about = f"Service level {level.id}: credit"
    return deduction(f"sla:{level.id}", "sla_credit", about, off, formula, invoice.parts(), invoice.currency)
