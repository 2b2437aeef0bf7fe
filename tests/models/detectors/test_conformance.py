"""What every detector of the registry promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.contracts import Detector
from models.detectors.registry import DETECTORS

RANDOM = np.random.default_rng(5)
SERIES = {
    "noise": RANDOM.gamma(3.0, 2.0, 300),
    "constant": np.full(300, 5.0),
    "zeros": np.zeros(300),
    "gaps": np.where(RANDOM.random(300) < 0.2, np.nan, RANDOM.random(300)),
    "extreme": np.where(RANDOM.random(300) < 0.02, 1e300, 1e-300),
}


@pytest.fixture(params=list(DETECTORS))
def kind(request: pytest.FixtureRequest) -> type[Detector]:
    """Each registered detector."""
    return DETECTORS[request.param]


def run(detector: Detector, values: np.ndarray, start: int = 0) -> list[float]:
    """Scores of a series, learnt as it goes, at irregular times."""
    out = []
    for index, value in enumerate(values):
        stamp = float((start + index) * 60 + (index * 7) % 13)
        out.append(detector.score_one(float(value), stamp))
        detector.learn_one(float(value), stamp)
    return out


@pytest.mark.parametrize("name", list(SERIES))
def test_scores_are_finite_whatever_comes(kind: type[Detector], name: str) -> None:
    """Missing, constant and absurd values give scores >= 0 and a band that can be shown."""
    detector = kind()
    scores = run(detector, SERIES[name])
    assert all(math.isfinite(score) and score >= 0 for score in scores)
    low, middle, high = detector.expected()
    assert 0 <= low <= middle <= high
    assert math.isfinite(high)


def test_the_future_changes_nothing(kind: type[Detector]) -> None:
    """Permuting what comes after a point leaves all scores before it as they were."""
    values = SERIES["noise"]
    shuffled = np.concatenate([values[:200], np.random.default_rng(6).permutation(values[200:]) * 3])
    assert run(kind(), values)[:200] == run(kind(), shuffled)[:200]


def test_saved_and_restored_in_mid_stream(kind: type[Detector]) -> None:
    """A restart changes no score, and the state fits in 4 kB."""
    values = SERIES["noise"]
    for cut in (3, 15, 90, 180):
        whole = run(kind(), values)
        first = kind()
        run(first, values[:cut])
        state = first.state()
        size = sum(np.asarray(array).nbytes for array in state.arrays.values()) + len(str(dict(state.document)))
        assert size <= 4096
        assert run(kind.restore(state), values[cut:], cut) == pytest.approx(whole[cut:])


def test_a_jump_is_the_greatest_surprise(kind: type[Detector]) -> None:
    """A value of five times the usual after a calm time stands out."""
    values = np.concatenate([10 + RANDOM.random(200), [50.0], 10 + RANDOM.random(20)])
    scores = run(kind(), values)
    assert int(np.argmax(scores)) == 200
    assert scores[200] > 3 * max(scores[100:200])
