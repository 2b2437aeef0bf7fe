"""An anomaly: a stretch of time in which an operation used more of something than it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

EVERYONE = "*"
"""The user of an anomaly that concerns all of an operation's users."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One episode; figures are of one run of the operation, in the resource that stood out most.

    ``excess`` maps (micro-operation type, resource) to what was used beyond the expected, in the resource's own unit.
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

    @property
    def reason(self) -> str:
        """One sentence that says what stood out."""
        middle = self.expected[1]
        times = f"{self.observed / middle:.1f} times" if middle > 0 else "far above"
        whom = "" if self.user == EVERYONE else f" for {self.user}"
        what = f"{self.resource} of {self.micro_operation_type}"
        return f"{self.operation}{whom} used {times} the usual {what} a run ({self.observed:.4g} against {middle:.4g})"
