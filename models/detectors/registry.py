"""The detectors that commands and configurations may name."""

from __future__ import annotations

from models.contracts import Detector
from models.detectors.absolute_deviation import AbsoluteDeviation
from models.detectors.gaussian import Gaussian
from models.detectors.half_space_trees import HalfSpaceTrees
from models.detectors.multi_view import MultiView
from models.detectors.slow_drift import SlowDrift

DETECTORS: dict[str, type[Detector]] = {
    "multi-view": MultiView,
    "slow-drift": SlowDrift,
    "absolute-deviation": AbsoluteDeviation,
    "half-space-trees": HalfSpaceTrees,
    "gaussian": Gaussian,
}
"""Name -> class; to add a detector, write its file and add its line.

The first two also have a path over many series at once (`multi_view_bank`, `slow_drift_bank`); River's have none.
"""
