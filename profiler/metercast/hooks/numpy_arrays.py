"""Has the bytes of NumPy's arrays counted, through the table of its C interface."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from metercast.engine import Engine

_MODULES = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
"""Where the table is since NumPy 2, and before."""


def install(numpy: ModuleType, engine: Engine) -> None:
    """Have NumPy's default handler of data memory count. Raises ValueError for a NumPy that is not known here."""
    for name in _MODULES:
        if name in sys.modules:
            engine.count_numpy(sys.modules[name]._ARRAY_API)
            return
    raise ValueError(f"NumPy {numpy.__version__} keeps its C interface in none of {', '.join(_MODULES)}")
