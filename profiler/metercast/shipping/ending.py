"""The end of a program: waits for the shipping thread while it gets on, and counts and tells what it did not write."""

from __future__ import annotations

import contextlib
import sys
import threading
import time

from metercast.shipping.folding import Amounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from metercast.engine import Engine
    from metercast.shipping.batch import Converter, Row
    from metercast.shipping.delivery import ServerDelivery
    from metercast.shipping.directory import DirectoryDelivery

_GRACE_S, _MOST_GRACE_S = 5.0, 25.0
"""What writing the rest to disk may take without getting on, and at most, after the time for the server is over."""
_STEP_S = 1.0
"""What a batch that is being written may still take when all the rest is given up."""


class Ending:
    """Whether a shipper still writes; `step` is held while events are on their way from one place to the next."""

    __slots__ = ("has_given_up", "step")

    def __init__(self) -> None:
        self.has_given_up = False
        self.step = threading.RLock()

    def is_over(self, thread: threading.Thread, timeout_s: float, reached: Callable[[], object]) -> bool:
        """Wait for a thread, for the timeout and then as long as ``reached()``, how far it is, goes on changing."""
        started_s = time.monotonic()
        before, wait_s = None, timeout_s + _GRACE_S
        while thread.is_alive() and (now := reached()) != before:
            if time.monotonic() - started_s > timeout_s + _MOST_GRACE_S:
                break
            thread.join(wait_s)
            before, wait_s = now, _GRACE_S
        return not thread.is_alive()

    def give_up(
        self,
        pending: Callable[[], list[Row]],
        converter: Converter,
        engine: Engine,
        delivery: ServerDelivery | DirectoryDelivery | None,
    ) -> Amounts:
        """What is nowhere but in this process; the thread, wherever it hangs, writes no more of it."""
        is_between = self.step.acquire(timeout=_STEP_S)
        try:
            self.has_given_up = True
            lost = Amounts(pending())
            lost.add(Amounts(converter.take(engine, engine.pending())[1]))
            lost.add(Amounts(converter.totals(engine.take_totals())))
            if delivery is not None:
                lost.add(delivery.lost)
                lost.add(delivery.give_up())
        finally:
            if is_between:
                self.step.release()
        return lost


def tell(lost: Amounts, problem: str) -> None:
    """Say on stderr what was lost, if anything was."""
    if lost.events:
        with contextlib.suppress(Exception):  # a program may end without stderr
            text = f"metercast: lost {lost}: {problem}. Set METERCAST_SPOOL to a directory with room."
            print(text, file=sys.stderr, flush=True)
