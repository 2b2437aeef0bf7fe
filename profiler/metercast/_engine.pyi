from metercast.engine import Engine as Engine
from metercast.execution import Execution as Execution

CONTRACT: int
