"""Totals of rows whose detail has to go: the last resort before losing anything."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.shipping.batch import Row


class Folding:
    """Adds rows up per (user, operation, type, meter); the sums keep every resource of every row."""

    __slots__ = ("_totals",)

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str, int, str], tuple[Row, int]] = {}

    def add(self, rows: list[Row]) -> None:
        """Fold rows into the totals."""
        for row in rows:
            key = row[1:5]
            known = self._totals.get(key)
            if known is None:
                self._totals[key] = ((*row[:11], 0, 0, row[13]), 1)
            else:
                total, count = known
                summed: Row = (max(total[0], row[0]), *key, *_sums(total, row), 0, 0, total[13])
                self._totals[key] = (summed, count + 1)

    def take(self) -> list[Row]:
        """The totals as rows, and begin anew."""
        totals, self._totals = self._totals, {}
        return [(*row[:13], f"{row[13].partition(' aggregate')[0]} aggregate of {n}") for row, n in totals.values()]

    def is_empty(self) -> bool:
        """True when nothing is folded."""
        return not self._totals


def _sums(a: Row, b: Row) -> tuple[int, int, int, int, float, float]:
    return a[5] + b[5], a[6] + b[6], a[7] + b[7], a[8] + b[8], a[9] + b[9], a[10] + b[10]
