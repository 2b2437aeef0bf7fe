"""Meters functions that the command line names, `package.module:function` or `module:Class.method`."""

from __future__ import annotations

import sys

from metercast.hooks.imports import when_imported
from metercast.operations import operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_SHOWN = 8

waiting: dict[str, str] = {}
"""Targets whose module the program has not imported so far, and that module."""


def meter(target: str) -> None:
    """Wrap the function when its module is imported; raises ValueError when the target is not of that form.

    A function that is not there is told on stderr, and the program goes on.
    """
    module, _, path = target.partition(":")
    if not module or not path:
        raise ValueError(f"--operation {target!r} names no function. Write package.module:function.")
    waiting[target] = module

    def wrap(imported: ModuleType) -> None:
        waiting.pop(target, None)
        try:
            _wrap(imported, path)
        except (LookupError, TypeError, AttributeError) as error:
            _tell(target, str(error.args[0]))

    when_imported(module, wrap)


def tell_waiting() -> None:
    """Say on stderr which of the named functions were not met."""
    for target, module in waiting.items():
        _tell(
            target, f"the program did not import {module} (a script that is run is no module: import it from another)"
        )


def _tell(target: str, reason: str) -> None:
    print(f"metercast run: --operation {target} meters nothing: {reason}.", file=sys.stderr)


def _wrap(module: ModuleType, path: str) -> None:
    *outer, name = path.split(".")
    owner: Any = module
    for part in outer:
        owner = _member(owner, part)
    function = _member(owner, name)
    kind = type(function) if isinstance(function, (staticmethod, classmethod)) else None
    plain: Any = function.__func__ if kind is not None else function
    if isinstance(plain, type) or not callable(plain):
        kind_name = "class" if isinstance(plain, type) else type(plain).__name__
        raise LookupError(f"{path} is no function but a {kind_name}; name a function, or a method as Class.method")
    metered = operation(path)(plain)
    setattr(owner, name, kind(metered) if kind is not None else metered)


def _member(owner: Any, name: str) -> Any:
    """What an owner, or a class that it derives from, has under a name; raises LookupError with what there is."""
    bases = owner.__mro__ if isinstance(owner, type) else (owner,)
    for base in bases:
        if name in vars(base):
            return vars(base)[name]
    owner_name = getattr(owner, "__name__", type(owner).__name__)
    public = {known: value for known, value in vars(owner).items() if not known.startswith("_")}
    there = [known for known, value in public.items() if callable(value) or isinstance(value, classmethod)]
    more = ", ..." if len(there) > _SHOWN else ""
    raise LookupError(f"{owner_name} has no {name!r}; it has {', '.join(there[:_SHOWN]) or 'no functions'}{more}")
