"""A mean that starts as a plain one and then forgets slowly, from River's two."""

from __future__ import annotations

from river import stats


class SlowMean:
    """River's `Mean` over the first 1/fading values, its `EWMean` from there on: no first value weighs too much."""

    def __init__(self, fading: float, count: float = 0.0, mean: float = 0.0) -> None:
        """Start anew, or go on from a saved count and mean."""
        self._fading = fading
        self._plain = stats.Mean()
        self._fading_mean = stats.EWMean(fading)
        self.count = count
        if count:
            # A first update sets the exponential mean, which is how a saved one is put back.
            self._fading_mean.update(mean)
            self._plain.update(mean, w=count)

    def update(self, value: float) -> None:
        """Take a value in."""
        self.count += 1
        if self.count * self._fading <= 1:
            self._plain.update(value)
            self._fading_mean = stats.EWMean(self._fading)
            self._fading_mean.update(self._plain.get())
        else:
            self._fading_mean.update(value)

    def get(self) -> float:
        """The mean; 0.0 before the first value."""
        return float(self._fading_mean.get()) if self.count else 0.0
