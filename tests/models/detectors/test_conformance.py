"""What every detector of the registry promises."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contracts import Detector, State
from models.detectors.registry import DETECTORS
from models.detectors.stream import score_stream

RANDOM = np.random.default_rng(5)
LENGTH = 600
SERIES = {
    "noise": RANDOM.gamma(3.0, 2.0, LENGTH),
    "constant": np.full(LENGTH, 5.0),
    "zeros": np.zeros(LENGTH),
    "negative": RANDOM.normal(-5.0, 1.0, LENGTH),
    "gaps": np.where(RANDOM.random(LENGTH) < 0.2, np.nan, RANDOM.random(LENGTH)),
    "all missing": np.full(LENGTH, np.nan),
    "infinite": np.where(RANDOM.random(LENGTH) < 0.02, np.inf, 1.0),
    "extreme": np.where(RANDOM.random(LENGTH) < 0.02, 1e300, 1e-300),
}
STEP_S = 1_800
SURGE = [name for name in DETECTORS if name != "slow-drift"]


@pytest.fixture(params=list(DETECTORS))
def kind(request: pytest.FixtureRequest) -> type[Detector]:
    """Each registered detector."""
    return DETECTORS[request.param]


def stamps(count: int, start: int = 0) -> list[float]:
    """Irregular times."""
    return [float((start + index) * STEP_S + (index + start) * 7 % 13) for index in range(count)]


def run(detector: Detector, values: np.ndarray, start: int = 0) -> list[float]:
    """Scores of a series, learnt as it goes."""
    out = []
    for value, stamp in zip(values.tolist(), stamps(len(values), start), strict=True):
        out.append(detector.score_one(value, stamp))
        detector.learn_one(value, stamp)
    return out


def through_files(state: State) -> State:
    """What is left of a state after JSON and raw bytes: no pickle is needed to keep it."""
    arrays = {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape) for name, array in state.arrays.items()
    }
    return State(json.loads(json.dumps(dict(state.document))), arrays)


@pytest.mark.parametrize("name", list(SERIES))
def test_scores_are_finite_whatever_comes(kind: type[Detector], name: str) -> None:
    """Missing, constant and absurd values give scores >= 0 and a band that can be shown."""
    detector = kind()
    scores = run(detector, SERIES[name])
    assert all(math.isfinite(score) and score >= 0 for score in scores)
    low, middle, high = detector.expected()
    assert 0 <= low <= middle <= high
    assert math.isfinite(high)


def test_a_constant_series_is_no_surprise(kind: type[Detector]) -> None:
    """Whatever never changes never alerts."""
    assert max(run(kind(), SERIES["constant"])[300:]) < 0.9


def test_the_future_changes_nothing(kind: type[Detector]) -> None:
    """Permuting what comes after a point leaves all scores before it as they were."""
    values = SERIES["noise"]
    shuffled = np.concatenate([values[:400], np.random.default_rng(6).permutation(values[400:]) * 3])
    assert run(kind(), values)[:400] == run(kind(), shuffled)[:400]


def test_a_prefix_scores_as_the_whole(kind: type[Detector]) -> None:
    """The scores of the first rows of a file are those of a file that ends there."""
    values, times = SERIES["noise"], np.array(stamps(LENGTH))
    whole = score_stream(kind, values, times)
    for cut in (1, 19, 250, 555):
        assert score_stream(kind, values[:cut], times[:cut]) == pytest.approx(whole[:cut], rel=1e-9, abs=1e-12)


def test_it_is_deterministic(kind: type[Detector]) -> None:
    """Two runs give the same scores."""
    assert run(kind(), SERIES["noise"]) == run(kind(), SERIES["noise"])


@pytest.mark.parametrize("name", ["noise", "gaps", "extreme"])
def test_saved_and_restored_in_mid_stream(kind: type[Detector], name: str) -> None:
    """A restart changes no score, and the state fits in 4 kB."""
    values = SERIES[name]
    whole = run(kind(), values)
    for cut in (0, 3, 21, 180, 500):
        first = kind()
        run(first, values[:cut])
        state = through_files(first.state())
        size = sum(np.asarray(array).nbytes for array in state.arrays.values()) + len(json.dumps(dict(state.document)))
        assert size <= 4096
        assert run(kind.restore(state), values[cut:], cut) == pytest.approx(whole[cut:])


@pytest.mark.parametrize("name", SURGE)
def test_a_jump_is_among_the_greatest_surprises(name: str) -> None:
    """After a calm time nothing is more surprising than a value of five times the usual, whatever the noise.

    Half-space trees, which are there for comparison, also find the ends of the calm range empty.
    """
    higher = 0.2 if name == "half-space-trees" else 0.0
    for seed in range(5):
        random = np.random.default_rng(seed)
        scores = np.array(run(DETECTORS[name](), np.concatenate([10 + random.random(400), [50.0]])))
        assert (scores[:400] > scores[400]).mean() <= higher


@settings(max_examples=25)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=1, max_size=80))
def test_no_list_of_floats_breaks_it(values: list[float]) -> None:
    """Any 64-bit floats give finite scores >= 0."""
    for detector in DETECTORS.values():
        assert all(math.isfinite(score) and score >= 0 for score in run(detector(), np.array(values)))
