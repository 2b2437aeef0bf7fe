"""What a program says itself: which operation it is in, for whom, and what else it used."""

from __future__ import annotations

import functools

from metercast.native import compiled
from metercast.runtime import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from metercast.execution import Execution

    Function = TypeVar("Function", bound=Callable[..., Any])

_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # code flags of the language reference


class PythonBlock:
    """What opens an operation for a block, where the engine has no compiled form of it."""

    __slots__ = ("_execution", "name", "user")

    def __init__(self, name: str, user: str = "") -> None:
        self.name = name
        self.user = user
        self._execution: Execution | None = None

    def __enter__(self) -> Self:
        if not engine.is_on:
            return self
        if self._execution is not None:
            raise RuntimeError(
                f"operation({self.name!r}) is already open; one object meters one block at a time. "
                "Write operation(...) anew for each block."
            )
        self._execution = engine.enter(self.name, self.user)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        execution, self._execution = self._execution, None
        if execution is not None:
            engine.leave(execution)


if TYPE_CHECKING:
    Block = PythonBlock
else:
    Block = compiled(engine, "Block") or PythonBlock
    if Block is not PythonBlock:
        Block.use(engine)


class operation(Block):  # noqa: N801 -- reads as a verb in `with operation("checkout"):`
    """Meter a block or a function as one billable operation.

    ``with operation("checkout", user="acme"):``, ``async with`` alike, or ``@operation("checkout")`` on a function,
    coroutine function, generator or async generator. Without ``user`` the user of the enclosing operation, of
    `set_user`, or the default one pays.
    """

    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Function) -> Function:
        """Decorate a function, coroutine function, generator or async generator."""
        code = getattr(function, "__code__", None)
        flags = code.co_flags if code is not None else 0
        wrapper: Any
        if flags & _COROUTINE:
            wrapper = _coroutine_function(self.name, self.user, function)
        elif flags & _ASYNC_GENERATOR:
            wrapper = _async_generator_function(self.name, self.user, function)
        elif flags & _GENERATOR:
            wrapper = _generator_function(self.name, self.user, function)
        else:
            wrapper = _function(self.name, self.user, function)
        return functools.update_wrapper(wrapper, function)  # type: ignore[return-value]


def metered(function: Function) -> Function:
    """Meter a function as the operation ``module.qualified_name``."""
    return operation(f"{function.__module__}.{function.__qualname__}")(function)


def set_user(user: str) -> None:
    """Say who pays from here on in this context: for the open operation, and for those opened later."""
    engine.user.set(user)
    execution = engine.current.get()
    if execution is not None and not execution.is_root:
        execution.user = user


def custom(meter: str, units: float) -> None:
    """Count ``units`` (finite, >= 0) of any other billable quantity, as tokens or pages, for the open operation."""
    if not 0 <= units < float("inf"):
        raise ValueError(f"custom({meter!r}, {units!r}): units must be finite and >= 0. Pass the quantity used.")
    execution = engine.current.get()
    if execution is not None:
        engine.count(execution, meter, float(units))


def _function(name: str, user: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with operation(name, user):
            return function(*args, **kwargs)

    return call


def _coroutine_function(name: str, user: str, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with operation(name, user):
            return await function(*args, **kwargs)

    return call


def _generator_function(name: str, user: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Meter only the time inside the generator: its caller's time between two items is not its own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not engine.is_on:
            return (yield from function(*args, **kwargs))
        generator = function(*args, **kwargs)
        execution: Execution | None = None
        step, value = generator.send, None
        while True:
            outer = engine.current.get()
            execution = engine.open(name, user) if execution is None else _resume(execution)
            token = engine.current.set(execution)
            try:
                item = step(value)
            except StopIteration as stop:
                engine.close(execution)
                engine.current.reset(token)
                return stop.value
            except BaseException:
                engine.close(execution)
                engine.current.reset(token)
                raise
            engine.current.reset(token)
            engine.switch(outer)
            try:
                step, value = generator.send, (yield item)
            except GeneratorExit:
                _finish(execution, generator.close)
                raise
            except BaseException as error:
                step, value = generator.throw, error

    return call


def _resume(execution: Execution) -> Execution:
    engine.resume(execution)
    return execution


def _finish(execution: Execution, close: Callable[[], None]) -> None:
    engine.resume(execution)
    token = engine.current.set(execution)
    try:
        close()
    finally:
        engine.close(execution)
        engine.current.reset(token)


def _async_generator_function(name: str, user: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Meter the time inside an async generator; between two items the caller's operation is current again."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        execution: Execution | None = None
        step, value = generator.asend, None
        while True:
            outer = engine.current.get()
            execution = engine.open(name, user) if execution is None else _resume(execution)
            engine.current.set(execution)
            try:
                item = await step(value)
            except BaseException as stop:
                engine.close(execution)
                engine.current.set(outer)
                if isinstance(stop, StopAsyncIteration):
                    return
                raise
            engine.current.set(outer)
            engine.switch(outer)
            try:
                step, value = generator.asend, (yield item)
            except GeneratorExit:
                await generator.aclose()
                engine.close(execution)
                raise
            except BaseException as error:
                step, value = generator.athrow, error

    return call
