"""One severity from two channels: how rare the distances of a value are, and how great they are in their own scale.

What only the second channel finds may be a spike that a heavy-tailed series has now and then: it opens an alert but
ranks no higher than just above the bar. What the first channel finds too has been confirmed by the series' own past: it
ranks by its rarity. So one monotone scale serves who wants all and who wants the certain ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.detectors.views import PRIOR_INDEX

BAR = 7.0
"""Nats of surprise that make a severity of one, where an alert opens."""

SCALE_BAR = 6.0
"""Mean scales that do."""

DOUBT = 0.05
"""What the second channel alone adds at most to the severity of one."""

RAISE = 0.05
"""What it adds to a confirmed one, times the log of its own bars."""

_MOST = 1e6


def severity(surprise: Any, scales: Any, rate: float = 1.0) -> Any:
    """Severity of values, arrays or numbers, from nats of surprise and mean scales; 1 or more opens an alert.

    Below the bar the channels are summed in the cubic norm: about the greater, somewhat more where they agree. Where
    there are ``rate`` times as many values in the same time, what opens an alert must be so many times rarer: in nats,
    and in scales by the power law that tails have before they are known (`PRIOR_INDEX`).
    """
    rarity = surprise / (BAR + math.log(rate))
    scale = np.minimum(scales / (SCALE_BAR * rate ** (1 / PRIOR_INDEX)), _MOST)
    agreed = np.cbrt(rarity * rarity * rarity + scale * scale * scale)
    doubtful = np.where(agreed >= 1, 1 + DOUBT * (1 - 1 / np.maximum(agreed, 1.0)), agreed)
    confirmed = rarity + DOUBT + RAISE * np.log(np.maximum(scale, 1.0))
    return np.where(rarity >= 1, confirmed, doubtful)


def is_rarer(surprise: Any, scales: Any) -> Any:
    """Whether the first channel says more of values than the second."""
    return surprise / BAR >= scales / SCALE_BAR
