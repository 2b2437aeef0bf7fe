from collections.abc import Callable, Sequence
from typing import Any

from metercast.engine import Engine as Engine
from metercast.execution import Execution as Execution

CONTRACT: int

class Block:
    name: str
    user: str
    @staticmethod
    def use(engine: object) -> None: ...

class Step:
    def __init__(self, engine: Engine, original: Any, report: Any) -> None: ...

class Hook:
    def __init__(
        self,
        engine: Engine,
        original: Any,
        route_of_path: Callable[[str], str],
        otherwise: Any = ...,
        headers: tuple[bytes, ...] = ...,
    ) -> None: ...

class Row:
    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> Any: ...

def pack_columns(rows: Sequence[Any]) -> tuple[tuple[list[str], ...], list[tuple[str, float]], bytes]: ...
def json_events(
    rows: Sequence[Any], names_of: Callable[[str, str, int, str], tuple[str, str]], quote: Callable[[str], str]
) -> bytes: ...
