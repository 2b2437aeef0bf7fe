"""What a metered process tells of itself while it runs."""

from __future__ import annotations

import os
import sys
import time

from metercast.ledger import Ledger
from metercast.native import is_compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from metercast.shipping.batch import Row
    from metercast.shipping.shipper import Shipper

_WATCHED_S = 60.0
"""How long after a question totals are still kept for the next."""


class Status:
    """Totals for who watches, from the first question on; nobody watching costs nothing."""

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self._started_s = time.time()
        self._ledger: Ledger | None = None
        self._since_s = 0.0
        self._asked_s = 0.0

    def is_watched(self) -> bool:
        """Whether somebody has asked lately."""
        return self._ledger is not None and time.monotonic() - self._asked_s <= _WATCHED_S

    def add(self, rows: list[Row]) -> None:
        """Add rows on their way to the server."""
        if self._ledger is not None:
            if time.monotonic() - self._asked_s > _WATCHED_S:
                self._ledger = None
            else:
                self._ledger.add(rows)

    def tell(self) -> dict[str, Any]:
        """The process, its metering, and the totals of its operations since `since_s` (Unix seconds)."""
        shipper, now_s = self._shipper, time.time()
        self._asked_s = time.monotonic()
        ledger, since_s = shipper.ledger, self._started_s
        if shipper.delivery is not None:
            if self._ledger is None:
                self._ledger, self._since_s = Ledger(), now_s
            ledger, since_s = self._ledger, self._since_s
        engine = shipper.engine
        return {
            "process": os.getpid(),
            "command": sys.argv,
            "started_s": self._started_s,
            "now_s": now_s,
            "since_s": since_s,
            "engine": "compiled" if is_compiled(engine) else "python",
            "is_on": bool(engine.is_on),
            "detail": "totals" if engine.sums_up else "records",
            "to": shipper.settings.to,
            "events": shipper.events,
            "dropped_events": engine.dropped,
            "lost_events": shipper.lost.events,
            "problem": shipper.problem or (shipper.delivery.last_problem if shipper.delivery is not None else ""),
            "operations": ledger.dearest(1000),
        }
