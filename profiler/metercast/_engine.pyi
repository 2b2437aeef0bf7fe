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
