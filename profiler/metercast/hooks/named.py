"""Meters functions that the command line names, `package.module:function` or `module:Class.method`."""

from __future__ import annotations

from metercast.hooks.imports import when_imported
from metercast.operations import operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def meter(target: str) -> None:
    """Wrap the function when its module is imported; raises ValueError when the target is not of that form."""
    module, _, path = target.partition(":")
    if not module or not path:
        raise ValueError(f"--operation {target!r} names no function. Write package.module:function.")

    def wrap(imported: ModuleType) -> None:
        *outer, name = path.split(".")
        owner: object = imported
        for part in outer:
            owner = getattr(owner, part)
        function = vars(owner)[name]
        kind = type(function) if isinstance(function, (staticmethod, classmethod)) else None
        plain = function.__func__ if kind is not None else function
        metered = operation(path)(plain)
        setattr(owner, name, kind(metered) if kind is not None else metered)

    when_imported(module, wrap)
