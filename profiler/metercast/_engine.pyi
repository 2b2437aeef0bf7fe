from metercast.engine import Engine as Engine
from metercast.engine import Execution as Execution
