"""The one engine of this process, and starting, stopping and flushing what ships its records."""

from __future__ import annotations

import os
import threading

from metercast.engine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings
    from metercast.shipping.shipper import Shipper

engine = Engine()
_shipper: Shipper | None = None
_lock = threading.Lock()


def start(settings: Settings | None = None, *, to: str | None = None, user: str | None = None) -> None:
    """Install the interception and ship to ``to`` (URL or directory); METERCAST_* fills what is not given.

    Does nothing when METERCAST_OFF is set or metering has started already.
    """
    global _shipper  # noqa: PLW0603 -- one engine a process, hence one shipper
    from metercast.hooks import install
    from metercast.settings import Settings
    from metercast.shipping.shipper import Shipper

    settings = settings or Settings.from_environment(to=to, user=user)
    with _lock:
        if _shipper is not None or settings.off:
            return
        engine.default_user = settings.user
        engine.ring.capacity = settings.ring_capacity
        engine.user_header = settings.user_header
        install(engine)
        _shipper = Shipper(engine, settings)
        _shipper.start()
    os.register_at_fork(after_in_child=_after_fork)
    threading._register_atexit(stop)  # type: ignore[attr-defined]  # before daemon threads are frozen


def stop(timeout_s: float | None = None) -> None:
    """Ship what is left, within a deadline, and stop shipping."""
    global _shipper
    with _lock:
        shipper, _shipper = _shipper, None
    if shipper is not None:
        shipper.stop(timeout_s)


def flush(timeout_s: float = 5.0) -> bool:
    """Ship everything recorded so far; False when the time did not suffice (it stays queued or spooled)."""
    shipper = _shipper
    return shipper is None or shipper.flush(timeout_s)


def shipper() -> Shipper | None:
    """The running shipper, None before `start`."""
    return _shipper


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    engine.reset_after_fork()
    if _shipper is not None:
        _shipper.restart_after_fork()
