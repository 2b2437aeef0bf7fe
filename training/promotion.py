"""Who becomes champion: a challenger that beats the champion there is by more than luck, on windows new to both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bundle import BundleError, load
from models.contracts import Forecast, Forecaster
from models.forecasters.lstm import LstmConfig
from models.panel import Panel
from training.challenge import Challenge, challenge
from training.configuration import TrainConfiguration
from training.export import export_champion
from training.fit import fit_forecaster
from training.memory import TrainedNetworks
from training.threads import few_threads
from training.tracking import Tracking, UnknownVersionError

if TYPE_CHECKING:
    from training.run import Trained

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Promotion:
    """The version promoted (None: the champion stays), why, and the comparison where one was possible."""

    version: str | None
    reason: str
    challenge: Challenge | None = None

    def _repr_html_(self) -> str:
        """What became of it, for notebooks."""
        head = f"Version {self.version} is the champion now" if self.version is not None else "No promotion"
        return f"<p><b>{head}</b>: {escape(self.reason)}</p>"


@dataclass(frozen=True, slots=True)
class Contest:
    """On what champion and challenger are compared, by which figure, and how sure the lead must be (0 to 1)."""

    panel: Panel
    cuts: tuple[int, ...]
    horizon: int
    metric: str = "wql"
    certainty: float = 0.95


def promote_best(
    tracking: Tracking, trained: Sequence[Trained], panel: Panel, configuration: TrainConfiguration, directory: Path
) -> Promotion:
    """Challenge the champion with the best of a run, and promote and export it if it wins."""
    best = min(trained, key=lambda one: _ordered(one.backtest.accuracy.document()[configuration.metric]))
    tested = best.backtest
    contest = Contest(panel, tested.cuts, tested.horizon, configuration.metric, configuration.certainty)
    if contest.certainty <= 0:
        export_champion(tracking, best.version, directory)
        return Promotion(best.version, "every best model is promoted")
    return _decide(tracking, best.version, best.name, tested.forecasts, contest, directory)


def promote_version(tracking: Tracking, version: str, contest: Contest | None, directory: Path) -> Promotion:
    """Challenge the champion with a registered version; without a ``contest`` it is promoted as it is.

    Raises UnknownVersionError or BundleError for a version that cannot be had.
    """
    if contest is None:
        before = tracking.champion()
        export_champion(tracking, version, directory)
        known = {None: "there was no champion", version: "it was the champion before"}
        return Promotion(version, known.get(before, "promoted without a comparison"))
    forecaster, metadata = loaded(tracking, version)
    forecasts = _forecasts(forecaster, metadata, contest) if tracking.champion() not in (None, version) else []
    return _decide(tracking, version, forecaster.name, forecasts, contest, directory)


def loaded(tracking: Tracking, version: str) -> tuple[Forecaster, dict[str, Any]]:
    """The forecaster and the metadata of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return load(tracking.bundle_of(version, Path(scratch)))


def _decide(
    tracking: Tracking, version: str, name: str, forecasts: Sequence[Forecast], contest: Contest, directory: Path
) -> Promotion:
    """Compare with the champion, promote if the lead is sure enough, and keep with the run what came of it."""
    champion = _champion(tracking, contest.panel)
    if isinstance(champion, str):
        export_champion(tracking, version, directory)
        return Promotion(version, champion)
    if tracking.champion() == version:
        export_champion(tracking, version, directory)
        return Promotion(version, "it was the champion before")
    tracking.set_challenger(version)
    old = _forecasts(*champion, contest)
    found = challenge(contest.panel, contest.cuts, old, forecasts, contest.metric)
    wins = found.certainty >= contest.certainty
    sure = f"{found.certainty:.0%} sure to be better by {found.metric}"
    reason = (
        f"{name} is {sure} than the champion"
        if wins
        else f"the champion stays: {name} is {sure}, {contest.certainty:.0%} are needed"
    )
    told = asdict(found) | {"against": tracking.champion(), "promoted": wins, "reason": reason}
    tracking.log_document(tracking.run_of(version), told, "challenge.json")
    if wins:
        export_champion(tracking, version, directory)
    return Promotion(version if wins else None, reason, found)


def _champion(tracking: Tracking, panel: Panel) -> tuple[Forecaster, dict[str, Any]] | str:
    """The champion, or why there is none to compare with."""
    version = tracking.champion()
    if version is None:
        return "there was no champion"
    try:
        forecaster, metadata = loaded(tracking, version)
    except (BundleError, UnknownVersionError, OSError) as error:
        return f"the champion cannot be loaded: {error}"
    window_s = panel.window_ns // NANOSECONDS
    if metadata.get("window_s") != window_s or metadata.get("season") != panel.season:
        return f"the champion forecasts windows of {metadata.get('window_s')} s, these are of {window_s} s"
    return forecaster, metadata


def _forecasts(forecaster: Forecaster, metadata: Mapping[str, Any], contest: Contest) -> list[Forecast]:
    """Forecasts from every cut by a model that has not seen what came after the first.

    One that was trained on some of it would recall it, so a model of the same recipe is trained without.
    """
    panel, first = contest.panel, contest.cuts[0]
    until = metadata.get("trained_until")
    has_seen = until is None or datetime.fromisoformat(str(until)) > panel.time_of(first)
    if has_seen:
        recipe = LstmConfig(**metadata["recipe"]) if metadata.get("recipe") else None
        past = panel.until(first)
        forecaster = fit_forecaster(forecaster.name, past, contest.horizon, recipe, networks=TrainedNetworks())
    with few_threads():
        return [forecaster.forecast(panel.until(cut), contest.horizon) for cut in contest.cuts]


def _ordered(value: float) -> float:
    """A figure that does not exist (a MASE of constant series) is never the best."""
    return value if value == value else float("inf")  # noqa: PLR0124
