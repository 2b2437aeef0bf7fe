"""Totals of rows whose detail has to go: the last resort before losing anything."""

from __future__ import annotations

from metercast.engine import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from metercast.shipping.batch import Row

PROFILER_SELF = CODE["PROFILER_SELF"]
_MARK = " aggregate of "


class Folding:
    """Adds rows up per (user, operation, type, meter); the sums keep every resource of every row."""

    __slots__ = ("_totals",)

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str, int, str], tuple[Row, int]] = {}

    def add(self, rows: list[Row]) -> None:
        """Fold rows into the totals; a row that is a total itself counts for all that it stands for."""
        for row in rows:
            key = row[1:5]
            known = self._totals.get(key)
            if known is None:
                self._totals[key] = ((*row[:11], 0, 0, row[13].partition(_MARK)[0]), events_of(row))
            else:
                total, count = known
                summed: Row = (max(total[0], row[0]), *key, *_sums(total, row), 0, 0, total[13])
                self._totals[key] = (summed, count + events_of(row))

    def take(self) -> list[Row]:
        """The totals as rows, and begin anew."""
        totals, self._totals = self._totals, {}
        return [(*row[:13], f"{row[13]}{_MARK}{n}") for row, n in totals.values()]

    def is_empty(self) -> bool:
        """True when nothing is folded."""
        return not self._totals


class Amounts:
    """How many events some rows are, and their units by meter: what a loss is told in; metering's own not counted."""

    __slots__ = ("events", "units")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.events = 0
        self.units: dict[str, float] = {}
        for row in rows:
            if row[3] == PROFILER_SELF:
                continue
            self.events += events_of(row)
            if row[10]:
                self.units[row[4]] = self.units.get(row[4], 0.0) + row[10]

    def add(self, other: Amounts) -> None:
        """Add what others are."""
        self.events += other.events
        for meter, units in other.units.items():
            self.units[meter] = self.units.get(meter, 0.0) + units

    def __str__(self) -> str:
        units = ", ".join(f"{units:g} {meter or 'units'}" for meter, units in self.units.items())
        return f"{self.events} events" + (f" ({units})" if units else "")


def events_of(row: Row) -> int:
    """How many recorded events a row stands for."""
    count = row[13].partition(_MARK)[2]
    return int(count) if count.isdigit() else 1


def _sums(a: Row, b: Row) -> tuple[int, int, int, int, float, float]:
    return a[5] + b[5], a[6] + b[6], a[7] + b[7], a[8] + b[8], a[9] + b[9], a[10] + b[10]
