"""A mean that starts as a plain one and then forgets slowly, from River's two."""

from __future__ import annotations

from river import stats


class SlowMean:
    """River's `Mean` over the first 1/fading values, its `EWMean` from there on: no first value weighs too much."""

    __slots__ = ("_current", "_fading", "count")

    def __init__(self, fading: float, count: float = 0.0, mean: float = 0.0) -> None:
        """Start anew, or go on from a saved count and mean."""
        self._fading = fading
        self.count = count
        self._current: stats.Mean | stats.EWMean = stats.Mean()
        if count * fading > 1:
            # A first update sets the exponential mean, which is how a saved one is put back.
            self._current = stats.EWMean(fading)
            self._current.update(mean)
        elif count:
            self._current = stats.Mean._from_state(count, mean)

    def update(self, value: float) -> None:
        """Take a value in."""
        self.count += 1
        if self.count * self._fading > 1 >= (self.count - 1) * self._fading:
            mean = self.get() if self.count > 1 else value
            self._current = stats.EWMean(self._fading)
            self._current.update(mean)
        self._current.update(value)

    def with_next(self, value: float) -> float:
        """What the mean would be after one more value."""
        mean = self.get()
        return mean + (value - mean) * max(1.0 / (self.count + 1), self._fading)

    def get(self) -> float:
        """The mean; 0.0 before the first value."""
        return float(self._current.get()) if self.count else 0.0
