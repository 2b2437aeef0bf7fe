"""Names operations of requests: a path becomes a template, so that ids in it do not make an operation each."""

from __future__ import annotations

import contextvars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.execution import Execution

served: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("metercast_served", default=None)
"""The execution that a server itself has opened for the request at hand; a framework below it opens no other."""

_HEX = frozenset("0123456789abcdefABCDEF-")
_MAXIMUM_OPERATIONS = 1_000
_seen: set[str] = set()


def route_of_path(path: str) -> str:
    """`/orders/1831?full=1` becomes `/orders/{id}`; beyond 1,000 different templates all become `{other}`."""
    parts = path.partition("?")[0].partition("#")[0].split("/")
    route = "/".join("{id}" if _is_identifier(part) else part for part in parts)[:200]
    if route not in _seen:
        if len(_seen) >= _MAXIMUM_OPERATIONS:
            return "{other}"
        _seen.add(route)
    return route


def _is_identifier(part: str) -> bool:
    """Numbers, hexadecimal keys and UUIDs, and long words with digits, as tokens have them."""
    if len(part) < 8 or part.isdigit():
        return part.isdigit()
    return (len(part) >= 20 or _HEX.issuperset(part)) and any(map(str.isdigit, part))
