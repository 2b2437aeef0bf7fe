"""One scale of severity in which doubtful and confirmed alerts stand apart."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from models.detectors.severity import BAR, DOUBT, SCALE_BAR, severity

NUMBERS = st.floats(0, 1e12)


@given(surprise=NUMBERS, scales=NUMBERS, more=st.floats(0, 1e6))
def test_more_of_either_is_never_less_severe(surprise: float, scales: float, more: float) -> None:
    """Severity rises with both channels."""
    base = severity(surprise, scales)
    slack = 1e-9 * (1 + base)
    assert severity(surprise + more, scales) >= base - slack
    assert severity(surprise, scales + more) >= base - slack


def test_the_scale_alone_opens_but_ranks_below_what_is_rare() -> None:
    """However great a spike is, one that the series has had before ranks below one that it has not."""
    spike, rare = severity(0.9 * BAR, 1e9), severity(BAR, 0.0)
    assert 1 < spike <= rare
    assert spike <= 1 + DOUBT


def test_short_windows_need_more() -> None:
    """Where sixty times as many values come, each must be sixty times rarer."""
    assert severity(BAR + math.log(60), 0.0, 60.0) >= 1 > severity(BAR + math.log(59), 0.0, 60.0)
    assert severity(0.0, 60 ** (1 / 3) * SCALE_BAR, 60.0) == severity(0.0, SCALE_BAR)


def test_agreement_below_the_bar_raises() -> None:
    """Two channels that both nearly reach the bar reach it together."""
    assert severity(0.85 * BAR, 0.0) < 1
    assert severity(0.85 * BAR, 0.85 * SCALE_BAR) > 1
