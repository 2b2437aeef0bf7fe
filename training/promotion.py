"""Who becomes champion after a run: the best of it, if it beats the champion there is by more than luck."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.bundle import BundleError, load
from models.contracts import Forecaster
from models.panel import Panel
from training.challenge import Challenge, challenge
from training.configuration import TrainConfiguration
from training.export import export_champion
from training.threads import few_threads
from training.tracking import Tracking, UnknownVersionError

if TYPE_CHECKING:
    from training.run import Trained


@dataclass(frozen=True, slots=True)
class Promotion:
    """The version promoted (None: the champion stays), why, and the comparison where one was possible."""

    version: str | None
    reason: str
    challenge: Challenge | None = None


def promote_best(
    tracking: Tracking, trained: Sequence[Trained], panel: Panel, configuration: TrainConfiguration, directory: Path
) -> Promotion:
    """Challenge the champion with the best of a run, and promote and export it if it wins.

    The champion may have learnt from the windows that both are judged on; the challenger has not, so a win is real.
    """
    best = min(trained, key=lambda one: _ordered(one.backtest.accuracy.document()[configuration.metric]))
    champion = _champion(tracking, panel) if configuration.certainty > 0 else "every best model is promoted"
    if isinstance(champion, str):
        export_champion(tracking, best.version, directory)
        return Promotion(best.version, champion)
    cuts = best.backtest.cuts
    horizon = best.backtest.forecasts[0].steps.shape[1]
    with few_threads():
        forecasts = [champion.forecast(panel.until(cut), horizon) for cut in cuts]
    found = challenge(panel, cuts, forecasts, best.backtest.forecasts, configuration.metric)
    if found.certainty < configuration.certainty:
        sure = f"{found.certainty:.0%} sure to be better, {configuration.certainty:.0%} are needed"
        return Promotion(None, f"the champion stays: {best.name} is {sure}", found)
    export_champion(tracking, best.version, directory)
    return Promotion(best.version, f"better than the champion, {found.certainty:.0%} sure", found)


def _champion(tracking: Tracking, panel: Panel) -> Forecaster | str:
    """The champion, or why there is none to compare with."""
    version = tracking.champion()
    if version is None:
        return "there was no champion"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            forecaster, metadata = load(tracking.bundle_of(version, Path(scratch)))
    except (BundleError, UnknownVersionError, OSError) as error:
        return f"the champion cannot be loaded: {error}"
    window_s = panel.window_ns // 1_000_000_000
    if metadata.get("window_s") != window_s or metadata.get("season") != panel.season:
        return f"the champion forecasts windows of {metadata.get('window_s')} s, these are of {window_s} s"
    return forecaster


def _ordered(value: float) -> float:
    """A figure that does not exist (a MASE of constant series) is never the best."""
    return value if value == value else float("inf")  # noqa: PLR0124
