"""Values that are dear to make and asked for often: the last ones are kept, and one is made once for all who wait."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
_DOORS = 64


class Kept(Generic[Value]):
    """The last values by key, ``size`` of them or of their weight; a maker that fails leaves nothing behind."""

    def __init__(self, size: int, weight: Callable[[Value], int] = lambda _: 1) -> None:
        """``weight`` tells what a value takes of ``size``; the latest value is kept whatever it weighs."""
        self._size, self._weight, self._held = size, weight, 0
        self._lock = threading.Lock()
        self._doors = tuple(threading.Lock() for _ in range(_DOORS))
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made now if it is not kept; others who ask for it meanwhile wait for it."""
        with self._doors[hash(key) % _DOORS]:
            with self._lock:
                if key in self._values:
                    self.hits += 1
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._lock:
                self.misses += 1
                self._values[key] = value
                self._held += self._weight(value)
                while self._held > self._size and len(self._values) > 1:
                    self._held -= self._weight(self._values.popitem(last=False)[1])
            return value
