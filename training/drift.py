"""Whether the champion of a data directory has drifted, seen from what was used since it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle import BundleError, load
from models.drift import ROLLING, Drift, judge, live_cuts, live_losses, reach_of, reference_of
from training.configuration import DataConfiguration
from training.data import panel_of
from training.threads import few_threads

CHAMPION = Path("models") / "champion"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to train, and why in one sentence; ``drift`` is None where there was nothing to measure."""

    retrain: bool
    reason: str
    drift: Drift | None = None


def drift_of(directory: Path, asked: DataConfiguration, database_url: str | None = None) -> Verdict:
    """Measure the champion on the usage ``asked`` for since it was trained; raises NoDataError where there is none.

    Without a champion, or with one that cannot be measured or forecasts other windows, training is what helps.
    """
    try:
        forecaster, metadata = load(directory / CHAMPION)
        known = f"windows of {metadata['window_s']} s in seasons of {metadata['season']}"
        data = asked.model_copy(update={"horizon": metadata["horizon"]})
        reference = reference_of(metadata)
        if reference is None:
            raise KeyError("watched")
    except (BundleError, KeyError) as error:
        return Verdict(True, f"there is no champion that can be measured ({error})")
    wanted = f"windows of {asked.window_s} s in seasons of {asked.season}"
    if known != wanted:
        return Verdict(True, f"the champion forecasts {known}, and what is to be trained {wanted}")
    panel = panel_of(directory, data, database_url)
    reach = reach_of(metadata)
    with few_threads():
        losses = [live_losses(forecaster, panel, cut, reach) for cut in list(live_cuts(panel, metadata))[-ROLLING:]]
    drift = judge(np.stack(losses) if losses else np.empty((0, len(panel.series))), reference)
    return Verdict(drift.status == "drifted", f"{forecaster.name}: {drift.told}", drift)
