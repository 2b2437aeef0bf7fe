"""Totals of events whose detail has to go: the last resort before losing anything."""

from __future__ import annotations

from metercast.event import RESOURCE_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Folding:
    """Adds events up per (user, operation, type, meter); the sums keep every resource of every event."""

    __slots__ = ("_totals",)

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str, str, str], tuple[dict[str, Any], int]] = {}

    def add(self, events: list[dict[str, Any]]) -> None:
        """Fold events into the totals."""
        for event in events:
            key = (event["userID"], event["operationID"], event["microOperationType"], event["meter"])
            total, count = self._totals.get(key, (None, 0))
            if total is None:
                total = {
                    **event,
                    "resourceUsage": dict(event["resourceUsage"]),
                    "executionID": 0,
                    "parentExecutionID": 0,
                }
            else:
                for field in RESOURCE_FIELDS:
                    total["resourceUsage"][field] += event["resourceUsage"][field]
                total["units"] += event["units"]
                total["timestamp"] = max(total["timestamp"], event["timestamp"])
            self._totals[key] = (total, count + 1)

    def take(self) -> list[dict[str, Any]]:
        """The totals as events, and begin anew."""
        totals, self._totals = self._totals, {}
        for total, count in totals.values():
            total["source"] = f"{total['source'].partition(' aggregate')[0]} aggregate of {count}"
        return [total for total, _ in totals.values()]

    def is_empty(self) -> bool:
        """True when nothing is folded."""
        return not self._totals
