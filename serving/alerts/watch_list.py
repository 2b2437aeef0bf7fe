"""What is watched: usage and spend at every level of the tree as numbered series, and where an engine's series belong.

The tree is micro-operation -> operation -> user -> everyone. A node is a user's operation, either of which may be all.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.window_rows import AMOUNTS, COUNTS, GRID
from features.windows import KEYS
from serving.alerts.anomaly import EVERYONE, SPEND, SPEND_A_RUN, WHOLE
from serving.alerts.growing import Growing
from serving.alerts.intensity import EXECUTIONS, Rates, judged_by

Key = tuple[str, str, str, str]
"""(user, operation, micro-operation type, resource) of a watched series."""

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

ERASED: Key = ("", "", "", "")
"""Stands for a series whose number is not used again."""

AMOUNT_ROWS = {name: row for row, name in enumerate((*COUNTS, *AMOUNTS))}
NODE, RELATIVE, IS_SPEND, IS_MONEY = range(4)
"""Of a watched series: its node, the same series of everyone (-1 for none), and what it is."""

UNIT, RATE = range(2)
"""Of a watched series: how many of the engine's whole numbers make a unit, and the price of one."""

IS_ALL, EVERYONE_OF, WHOLE_OF, SPEND_OF, SPEND_A_RUN_OF = range(5)
"""Of a node: whether it is of everyone, the nodes of everyone and of all operations, and its series of money."""

IS_KNOWN, USAGE, USAGE_OF_ALL, RUNS, AMOUNT = range(5)
"""Of an engine's series: its watched series and that of everyone, the node whose runs it counts, its amount's row."""

ORDER = 0


class WatchList:
    """Numbers of watched series and of nodes, given in the order in which they are first asked for."""

    def __init__(self, rates: Rates | None, keys: Iterable[tuple[int, Key]] = ()) -> None:
        """Without ``rates`` nothing is watched by money; ``keys`` are series that were numbered before."""
        self._rates = rates
        self.keys: list[Key] = []
        self._columns: dict[Key, int] = {}
        self._nodes: dict[tuple[str, str], int] = {}
        self.series, self.prices = Growing(4, np.intp, -1), Growing(2, np.float64, 1.0)
        self.nodes = Growing(5, np.intp, -1)
        self._engine, self._order = Growing(5, np.intp, -1), Growing(1, np.uint64, 0)
        self._new_series: dict[int, tuple[int, ...]] = {}
        self._new_prices: dict[int, tuple[float, ...]] = {}
        self._new_nodes: dict[int, tuple[int, ...]] = {}
        for number, key in keys:
            self.keys += [ERASED] * (number - len(self.keys)) + [key]
            self._columns[key] = number
        for key, number in list(self._columns.items()):
            self._describe(number, key)
        self._settle()

    def __len__(self) -> int:
        return len(self.keys)

    def column(self, key: Key) -> int | None:
        """The number of a watched series; None where there is none."""
        return self._columns.get(key)

    def node(self, user: str, operation: str) -> int | None:
        """The number of a node; None where there is none."""
        return self._nodes.get((user, operation))

    def covered(self, user: str, operation: str) -> list[int]:
        """The numbers of the nodes of a user's operation, either of which may be all there are."""
        if user != EVERYONE and operation != WHOLE:
            node = self._nodes.get((user, operation))
            return [] if node is None else [node]
        return [
            node
            for (whose, what), node in self._nodes.items()
            if user in (EVERYONE, whose) and operation in (WHOLE, what)
        ]

    def take_in(self, numbers: NDArray[np.int32], names: pl.DataFrame) -> None:
        """Find the places of an engine's series; row k of ``names`` holds the key (`KEYS`) of series k."""
        self._engine.reserve(len(names))
        self._order.reserve(len(names))
        unknown = np.unique(numbers[self._engine.of(IS_KNOWN, numbers) < 0])
        if not len(unknown):
            return
        keys = names.select(pl.col(KEYS).gather(pl.Series(unknown))).rows()
        self._engine.put(unknown, [self._place(*key) for key in keys])
        self._order.put(unknown, np.array([[_order(key)] for key in keys], np.uint64))
        self._settle()

    def engine(self, field: int, numbers: NDArray[np.int32]) -> Ints:
        """A field of an engine's series."""
        return self._engine.of(field, numbers)

    def order(self, numbers: NDArray[np.int32]) -> Ints:
        """The order in which an engine's series are summed up: it follows from their names, not from their numbers."""
        return np.argsort(self._order.of(ORDER, numbers), kind="stable")

    def _place(self, user: str, operation: str, micro: str, meter: str) -> tuple[int, int, int, int, int]:
        resource = judged_by(micro, meter)
        node = self._node(user, operation)
        runs = node if meter == EXECUTIONS else -1
        if resource is None:
            return 1, -1, -1, runs, 0
        everyone = self._column((EVERYONE, operation, micro, resource))
        usage = self._column((user, operation, micro, resource))
        return 1, usage, everyone, runs, _amount_row(micro, resource)

    def _column(self, key: Key) -> int:
        column = self._columns.get(key)
        if column is None:
            if key[0] != EVERYONE and key[3] != SPEND:
                self._column((EVERYONE, *key[1:]))
            column = self._columns[key] = len(self.keys)
            self.keys.append(key)
            self._describe(column, key)
        return column

    def _describe(self, column: int, key: Key) -> None:
        user, operation, micro, resource = key
        is_money = micro == WHOLE
        is_spend = is_money and resource == SPEND
        relative = -1 if is_spend or user == EVERYONE else self._column((EVERYONE, operation, micro, resource))
        self._new_series[column] = self._node(user, operation), relative, is_spend, is_money
        is_whole_number = not is_money and _amount_row(micro, resource) < len(COUNTS)
        rate = self._rates.of(operation, micro, resource) if self._rates and not is_money else 0.0
        self._new_prices[column] = 1.0 if is_whole_number else GRID, rate

    def _node(self, user: str, operation: str) -> int:
        """The number of a node, with those above it."""
        key = user, operation
        node = self._nodes.get(key)
        if node is not None:
            return node
        node = self._nodes[key] = len(self._nodes)
        everyone = node if user == EVERYONE else self._node(EVERYONE, operation)
        whole = node if operation == WHOLE else self._node(user, WHOLE)
        spend = a_run = -1
        if self._rates is not None:
            spend = self._column((user, operation, WHOLE, SPEND)) if user != EVERYONE or operation == WHOLE else -1
            a_run = self._column((user, operation, WHOLE, SPEND_A_RUN)) if operation != WHOLE else -1
        self._new_nodes[node] = user == EVERYONE, everyone, whole, spend, a_run
        return node

    def _settle(self) -> None:
        """Put what was gathered into the arrays."""
        for table, rows in (
            (self.series, self._new_series),
            (self.prices, self._new_prices),
            (self.nodes, self._new_nodes),
        ):
            if rows:
                table.reserve(max(rows) + 1)
                table.put(np.array(list(rows)), list(rows.values()))
                rows.clear()


def _amount_row(micro: str, resource: str) -> int:
    return AMOUNT_ROWS["units" if micro == "CUSTOM" else resource]


def _order(key: Key) -> int:
    return int.from_bytes(blake2b("|".join(key).encode(), digest_size=8).digest(), "little")
