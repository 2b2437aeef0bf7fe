"""By which resource each kind of usage is judged, and what a unit of it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

Price = Callable[[str, Mapping[tuple[str, str], float]], tuple[Decimal, str]]
"""(operation, excess by (micro-operation type, resource)) -> amount and currency."""

MAIN_RESOURCE = {
    "CPU_INSTRUCTION": "cpu_cycles",
    "MEMORY_READ": "memory_bytes",
    "MEMORY_WRITE": "memory_bytes",
    "MEMORY_ALLOC": "memory_bytes",
    "NETWORK_SEND": "network_bytes",
    "NETWORK_RECEIVE": "network_bytes",
    "DISK_READ": "disk_bytes",
    "DISK_WRITE": "disk_bytes",
    "WAIT": "execution_time_ms",
    "GPU_COMPUTE": "execution_time_ms",
}
"""The resource by which each micro-operation is judged; CUSTOM ones are judged by their units, meter by meter."""

EXECUTIONS = "executions"
LOT = 1e9
"""So many units are priced at once to find the price of one: a single one may cost less than money can say."""


class Rates:
    """Marginal prices of one unit by (operation, micro-operation type, resource), asked for once each."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._known: dict[tuple[str, str, str], float] = {}
        self.currency = ""

    @property
    def known(self) -> Mapping[tuple[str, str, str], float]:
        """All that were asked for."""
        return self._known

    def of(self, operation: str, micro: str, resource: str) -> float:
        """The price of one unit, as a float: for detection, not for bills."""
        key = (operation, micro, resource)
        if key not in self._known:
            amount, self.currency = self._price(operation, {(micro, resource): LOT})
            self._known[key] = float(amount) / LOT
        return self._known[key]


def judged_by(micro: str, meter: str) -> str | None:
    """The resource that a series is judged by, None for one that is judged by none."""
    return meter if micro == "CUSTOM" and meter else MAIN_RESOURCE.get(micro)
