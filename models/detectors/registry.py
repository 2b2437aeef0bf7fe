"""The detectors that commands and configurations may name."""

from __future__ import annotations

from models.contracts import Detector
from models.detectors.multi_view import MultiView

DETECTORS: dict[str, type[Detector]] = {"multi-view": MultiView}
"""Name -> class; to add a detector, write its file and add its line."""
