"""Tables of numbers by position that grow: each field an array of its own, room doubling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """Fields of one type over positions 0 ... `size` - 1."""

    def __init__(self, fields: int, kind: type, missing: float) -> None:
        """``missing`` stands in positions that were never set."""
        self._missing = missing
        self._values: NDArray[Any] = np.full((fields, 64), missing, kind)
        self.size = 0

    def reserve(self, size: int) -> None:
        """Make room for positions below ``size``."""
        there = self._values.shape[1]
        if size > there:
            shape = len(self._values), max(size, 2 * there) - there
            more = np.full(shape, self._missing, self._values.dtype)
            self._values = np.concatenate([self._values, more], axis=1)
        self.size = max(self.size, size)

    def put(self, positions: NDArray[Any], rows: Sequence[Sequence[float]] | NDArray[Any]) -> None:
        """Set rows at positions below `size`."""
        if len(rows):
            self._values[:, positions] = np.array(rows, self._values.dtype).T

    def of(self, field: int, positions: NDArray[Any]) -> NDArray[Any]:
        """A field at positions."""
        return np.take(self._values[field], positions)
