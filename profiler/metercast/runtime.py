"""The one engine of this process, and starting, stopping and flushing what ships its records."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading

from metercast.clock import nominal_hz
from metercast.engine import CONTRACT, Engine

ENGINE = "METERCAST_ENGINE"
_LAST_S = 30.0
"""What a terminated program may take at most to ship its last events."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.settings import Settings
    from metercast.shipping.shipper import Shipper


def make_engine(name: str) -> Engine:
    """The engine of that name: `compiled`, `python`, or with `auto` the compiled one where it was built."""
    if name != "python":
        try:
            from metercast._engine import CONTRACT as COMPILED_CONTRACT
            from metercast._engine import Engine as CompiledEngine

            if COMPILED_CONTRACT == CONTRACT:
                return CompiledEngine()
            raise ImportError("the compiled engine is of another version. Build it anew: pip install ./profiler")
        except ImportError:
            if name == "compiled":
                raise
    return Engine()


engine = make_engine("python" if os.environ.get("METERCAST_DETAIL") == "call" else os.environ.get(ENGINE, "auto"))
_shipper: Shipper | None = None
_lock = threading.RLock()  # a signal handler may stop what it interrupts in starting
_is_registered = False


def start(settings: Settings | None = None, *, to: str | None = None, user: str | None = None) -> None:
    """Install the interception and ship to ``to`` (URL or directory); METERCAST_* fills what is not given.

    Does nothing when METERCAST_OFF is set or metering has started already.
    """
    global _shipper  # noqa: PLW0603 -- one engine a process, hence one shipper
    from metercast.hooks import count_allocations, install
    from metercast.settings import Settings
    from metercast.shipping.shipper import Shipper

    settings = settings or Settings.from_environment(to=to, user=user)
    with _lock:
        if _shipper is not None or settings.off:
            return
        engine.is_on = True
        engine.default_user = settings.user
        engine.capacity = settings.ring_capacity
        engine.clock = settings.clock
        if settings.cycles != "nominal":
            with contextlib.suppress(OSError):  # none here: `source` says so, and the doctor why
                engine.count_cycles("cycles", settings.cycles == "auto", nominal_hz())
        if type(engine) is Engine:
            engine.keeps_calls = settings.detail == "call"
        engine.user_headers = tuple(name.strip() for name in settings.user_header.split(",") if name.strip())
        install(engine)
        if settings.allocations:
            count_allocations(engine)
        _shipper = Shipper(engine, settings)
        _shipper.start()
        _register_ends()


def stop(timeout_s: float | None = None) -> None:
    """Ship what is left, within a deadline, and stop metering: from here on an `operation` costs next to nothing."""
    global _shipper
    with _lock:
        shipper, _shipper = _shipper, None
    if shipper is not None:
        engine.checkpoint()
        engine.is_on = False
        shipper.stop(timeout_s)


def pause(reason: str = "by the program") -> None:
    """Meter nothing from here on until `resume`; an event says so, and why."""
    if _shipper is not None:
        engine.checkpoint()
        _shipper.switch(False, reason)


def resume(reason: str = "by the program") -> None:
    """Meter again after `pause`."""
    if _shipper is not None:
        _shipper.switch(True, reason)


def flush(timeout_s: float = 5.0) -> bool:
    """Ship everything recorded so far; False when the time did not suffice (it stays queued or spooled)."""
    shipper = _shipper
    engine.checkpoint()
    return shipper is None or shipper.flush(timeout_s)


def shipper() -> Shipper | None:
    """The running shipper, None before `start`."""
    return _shipper


def _register_ends() -> None:
    """Every way a process can end on its own, or go on as two, passes by here; done once a process."""
    global _is_registered  # noqa: PLW0603
    if _is_registered:
        return
    _is_registered = True
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(stop)  # runs after all but daemon threads have ended
    # multiprocessing and preforking servers end their children with `_exit`, which runs no exit handler
    for name in ("_exit", "execv", "execve"):
        setattr(os, name, _after_stop(getattr(os, name)))
    if threading.current_thread() is threading.main_thread():
        _stop_on_terminate()


def _stop_on_terminate() -> None:
    """SIGTERM still ends the program, but what it recorded is shipped first; a program's own handler replaces this."""
    import signal

    def terminate(number: int, _frame: object) -> None:
        engine.checkpoint()
        # In a thread of its own, because what was interrupted may hold a lock that stopping needs.
        stopping = threading.Thread(target=stop, daemon=True)
        stopping.start()
        stopping.join(_LAST_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)


def _after_stop(leave: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(leave)
    def leaving(*args: Any, **kwargs: Any) -> Any:
        stop()
        return leave(*args, **kwargs)

    return leaving


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    if _shipper is not None:
        _shipper.forget_journal()
    engine.reset_after_fork()
    if _shipper is not None:
        _shipper.restart_after_fork()
