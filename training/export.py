"""The champion's bundle, put where a running server looks for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from models.bundle import load, save
from training.tracking import Tracking


def export_champion(tracking: Tracking, version: str, directory: Path) -> Path:
    """Set the alias to a version and export its bundle to DATA/models/champion in one rename; returns that path.

    Raises UnknownVersionError for a version that is not in the registry, BundleError for one that does not load.
    """
    target = directory / "models" / "champion"
    with tempfile.TemporaryDirectory() as scratch:
        forecaster, metadata = load(tracking.bundle_of(version, Path(scratch)))
    tracking.set_champion(version)
    save(forecaster, target, metadata | {"version": version})
    return target
