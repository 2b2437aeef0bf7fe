"""Meters the processes of multiprocessing, by every start method, and carries the current operation into their work."""

from __future__ import annotations

import functools
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.engine import Engine

_POOLS = ("concurrent.futures.process", "multiprocessing.pool")
_FORK_SERVER = "from multiprocessing.forkserver import main"


class Job:
    """A function of a pool, which works in another process for the operation that handed it over; can be pickled."""

    __slots__ = ("function", "operation", "user")

    def __init__(self, function: Callable[..., Any], operation: str, user: str) -> None:
        self.function = function
        self.operation = operation
        self.user = user

    def __reduce__(self) -> tuple[Any, ...]:
        return Job, (self.function, self.operation, self.user)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the job."""
        with _part_of_run(self.operation, self.user):
            return self.function(*args, **kwargs)


class _part_of_run:  # noqa: N801 -- reads as what it is in `with`
    """Charges a block to an operation that another process has opened: a part of that run, not one more."""

    def __init__(self, operation: str, user: str) -> None:
        self._operation = operation
        self._user = user
        self._engine: Engine | None = None

    def __enter__(self) -> None:
        from metercast.runtime import engine

        if not engine.is_on:
            return
        self._engine = engine
        self._outer = engine.current.get()
        self._token = engine.current.set(engine.open(self._operation, self._user))

    def __exit__(self, *_: object) -> None:
        engine = self._engine
        if engine is not None:
            engine.checkpoint()  # records what was used; only `close` would count a run
            engine.current.reset(self._token)
            engine.switch(self._outer)


def install(process: Any, engine: Engine) -> None:
    """Wrap the start and the life of `multiprocessing.Process`; pools' workers are told the operation job by job."""
    base = process.BaseProcess
    start, bootstrap = base.start, base._bootstrap

    @functools.wraps(start)
    def starting(self: Any) -> None:
        execution = engine.current.get()
        if engine.is_on and execution is not None and not _is_worker(self):
            self._metercast = execution.operation, execution.user
        start(self)

    @functools.wraps(bootstrap)
    def living(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not engine.is_on:
            return bootstrap(self, *args, **kwargs)
        if engine.current.get() is not None:  # forked: of the process it comes from
            engine.current.set(None)
            engine.switch(None)
        given = getattr(self, "_metercast", None)
        if given is None:
            return bootstrap(self, *args, **kwargs)
        with _part_of_run(*given):
            return bootstrap(self, *args, **kwargs)

    base.start, base._bootstrap = starting, living


def install_pool(pool: Any, engine: Engine) -> None:
    """Wrap the ways to hand jobs to a `multiprocessing.Pool`."""
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        _hand_over(pool.Pool, name, engine)


def install_executor(module: Any, engine: Engine) -> None:
    """Wrap `ProcessPoolExecutor.submit`; `map` submits chunks through it."""
    _hand_over(module.ProcessPoolExecutor, "submit", engine)


def install_spawn(spawn: Any, engine: Engine) -> None:
    """Wrap `get_command_line`: an interpreter started anew meters from its start, before its work."""
    command_line = spawn.get_command_line

    @functools.wraps(command_line)
    def metering(**named: Any) -> list[str]:
        command: list[str] = command_line(**named)
        return _metered_command(command) if engine.is_on else command

    spawn.get_command_line = metering


def install_fork_server(forkserver: Any, engine: Engine) -> None:
    """Wrap what starts the server that forks children for multiprocessing's `forkserver`."""
    launch = forkserver.util.spawnv_passfds

    @functools.wraps(launch)
    def launching(path: Any, command: Any, descriptors: Any) -> Any:
        if engine.is_on and any(_FORK_SERVER in str(word) for word in command):
            command = _metered_command(list(command))
        return launch(path, command, descriptors)

    forkserver.util.spawnv_passfds = launching


def _metered_command(command: list[str]) -> list[str]:
    from metercast.runtime import shipper

    running = shipper()
    if running is None or "-c" not in command:
        return command
    to = running.settings.to
    if to and "://" not in to:
        to = os.path.abspath(to)
    place = command.index("-c") + 1
    start = f"metercast.start(to={to!r}, user={running.settings.user!r})"
    return [*command[:place], f"import metercast; {start}; {command[place]}", *command[place + 1 :]]


def _hand_over(owner: Any, name: str, engine: Engine) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def handing(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        execution = engine.current.get()
        if engine.is_on and execution is not None and not isinstance(function, Job):
            function = Job(function, execution.operation, execution.user)
        return original(self, function, *args, **kwargs)

    setattr(owner, name, handing)


def _is_worker(process: Any) -> bool:
    target = getattr(process, "_target", None)
    return getattr(target, "__module__", "") in _POOLS
