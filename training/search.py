"""Search of a network's sizes and training with Optuna: one resumable study a name, every trial a nested MLflow run."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from models.forecasters.lstm import LstmConfig
from models.panel import Panel
from training.backtest import backtest, rolling_cuts
from training.checks import Holdout
from training.configuration import Choices, Range, TuneConfiguration
from training.figures import search_figure
from training.fingerprint import fingerprint
from training.fit import fit_forecaster
from training.tracking import Tracking
from training.turns import turn

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of all trials that is done."""

HEARTBEAT_S = 15
"""A trial that has not been heard of for twice as long is over: its worker was killed."""

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class StudyMismatchError(ValueError):
    """A study of this name was made on other data or by another question; its trials cannot be compared."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a study found: its best values over those of the configuration, and its trials by how they ended."""

    study: str
    best: LstmConfig
    best_value: float
    first_value: float
    completed: int
    pruned: int
    failed: int
    parameters: dict[str, Any]
    run_id: str


def search(
    panel: Panel,
    horizon: int,
    configuration: TuneConfiguration,
    directory: Path,
    progress: Progress = lambda _what, _share: None,
    workers: int = 1,
) -> Search:
    """Run trials until the study has as many as are asked for, in so many processes at once.

    Raises StudyMismatchError for a study of other data, ValueError for too few windows or no completed trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tracking = Tracking(directory, configuration.experiment)
    study = study_of(panel, configuration, directory, tracking)
    parent = str(study.user_attrs["run_id"])
    missing = configuration.trials - ended(study)
    if workers > 1 and missing > 1:
        from training.search_workers import run_workers

        def told() -> None:
            done = ended(study)
            progress(f"{done} of {configuration.trials} trials", done / configuration.trials)

        run_workers(panel, horizon, configuration, directory, missing, min(workers, missing), told)
    elif missing > 0:
        objective = objective_of(study, panel, horizon, configuration, tracking, progress)
        limit = optuna.study.MaxTrialsCallback(configuration.trials, states=ENDED)
        study.optimize(objective, n_trials=missing, callbacks=[limit])
    return _found(study, configuration, tracking, parent)


def objective_of(
    study: optuna.Study,
    panel: Panel,
    horizon: int,
    configuration: TuneConfiguration,
    tracking: Tracking,
    progress: Progress = lambda _what, _share: None,
) -> Callable[[optuna.Trial], float]:
    """What a trial does: suggest values, train, backtest, and log it in a run nested in the study's."""
    horizon = min(horizon, max(1, panel.windows // 3))
    cuts = rolling_cuts(panel.windows, horizon, configuration.backtest.origins, configuration.backtest.stride)
    parent = str(study.user_attrs["run_id"])

    def objective(trial: optuna.Trial) -> float:
        progress(f"trial {trial.number}", ended(study) / configuration.trials)
        values = {name: _suggest(trial, name, space) for name, space in configuration.space.items()}
        config = LstmConfig(**(configuration.lstm.model_dump() | values))
        run_id = tracking.start(f"trial-{trial.number}", values, parent)
        trial.set_user_attr("run_id", run_id)
        try:
            accuracy = _attempt(trial, config, panel, horizon, cuts, configuration, tracking)
        except BaseException as error:
            tracking.finish(run_id, "KILLED" if isinstance(error, optuna.TrialPruned | KeyboardInterrupt) else "FAILED")
            raise
        tracking.log_figures(run_id, accuracy)
        tracking.finish(run_id)
        return accuracy[configuration.metric]

    return objective


def study_of(panel: Panel, configuration: TuneConfiguration, directory: Path, tracking: Tracking) -> optuna.Study:
    """The study of a configuration, with the run that its trials are nested in; both are made where they are missing.

    Raises StudyMismatchError for a study of other data.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with turn(directory):
        study = _opened(configuration, directory, tracking)
        question = configuration.model_dump_json(exclude={"trials", "experiment", "study", "seed"})
        asked = hashlib.sha256(f"{fingerprint(panel)} {question}".encode()).hexdigest()
        if study.user_attrs.get("asked", asked) != asked:
            raise StudyMismatchError(
                f"study {configuration.study!r} in {directory} was made with other data or another configuration; "
                "give this one a name of its own (study: ...)"
            )
        joined = int(study.user_attrs.get("joined", 0))
        study.set_user_attr("asked", asked)
        study.set_user_attr("joined", joined + 1)
        if "run_id" not in study.user_attrs:
            study.set_user_attr("run_id", _parent_run(panel, configuration, tracking))
    # Whoever joins, at the same time or to resume, must not propose what another did.
    seed = configuration.seed + 10_007 * joined
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=5)
    return study


def _opened(configuration: TuneConfiguration, directory: Path, tracking: Tracking) -> optuna.Study:
    """A worker that was killed leaves a running trial; the heartbeat tells others, who end its run, that it is over."""

    def over(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        run_id = trial.user_attrs.get("run_id")
        if run_id is not None:
            tracking.finish(str(run_id), "KILLED")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{directory.resolve() / 'optuna.db'}",
            engine_kwargs={"connect_args": {"timeout": 60}},
            heartbeat_interval=HEARTBEAT_S,
            heartbeat_stale_trial_callback=over,
        )
    return optuna.create_study(
        storage=storage,
        study_name=configuration.study,
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )


def _parent_run(panel: Panel, configuration: TuneConfiguration, tracking: Tracking) -> str:
    """A run for all trials of a study to be nested in."""
    parameters = {"model": configuration.model, "metric": configuration.metric, "data": fingerprint(panel)}
    run_id = tracking.start(f"study {configuration.study}", parameters)
    tracking.log_document(run_id, configuration.model_dump(mode="json"), "configuration.json")
    return run_id


def _suggest(trial: optuna.Trial, name: str, space: Choices | Range) -> int | float:
    if isinstance(space, Choices):
        chosen: int | float = trial.suggest_categorical(name, space.choices)
        return chosen
    if isinstance(space.low, int) and isinstance(space.high, int):
        return trial.suggest_int(name, space.low, space.high, log=space.log)
    return trial.suggest_float(name, float(space.low), float(space.high), log=space.log)


def _attempt(
    trial: optuna.Trial,
    config: LstmConfig,
    panel: Panel,
    horizon: int,
    cuts: tuple[int, ...],
    configuration: TuneConfiguration,
    tracking: Tracking,
) -> dict[str, float]:
    """Train on what lies before the first origin, watched on what lies after; the figures of all origins."""
    run_id = str(trial.user_attrs["run_id"])

    def report(check: int, loss: float) -> None:
        tracking.log_figures(run_id, {"holdout_loss": loss}, step=check)
        trial.report(loss, check)
        if trial.should_prune():
            raise optuna.TrialPruned(f"loss {loss:.4f} at check {check} is worse than the median of earlier trials")

    holdout = Holdout(panel, cuts[0], configuration.checks, report)
    tested = backtest(
        lambda past, reach: fit_forecaster(configuration.model, past, reach, config, holdout=holdout),
        panel,
        cuts,
        horizon,
    )
    return tested.accuracy.document()


def ended(study: optuna.Study) -> int:
    """How many trials completed or were pruned."""
    return len(study.get_trials(deepcopy=False, states=ENDED))


def _found(study: optuna.Study, configuration: TuneConfiguration, tracking: Tracking, parent: str) -> Search:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not completed:
        raise ValueError(f"no trial of study {study.study_name!r} completed; widen the space or lower lstm.steps")
    best = study.best_trial
    tracking.log_figures(parent, {f"best_{configuration.metric}": float(best.values[0])}, step=len(trials))
    tracking.log_document(parent, dict(best.params), "best.json")
    values = [float(trial.values[0]) for trial in completed]
    tracking.log_figure(parent, search_figure(values, configuration.metric), "search.png")
    tracking.finish(parent)
    return Search(
        study=study.study_name,
        best=LstmConfig(**(configuration.lstm.model_dump() | best.params)),
        best_value=float(best.values[0]),
        first_value=float(completed[0].values[0]),
        completed=len(completed),
        pruned=sum(trial.state is TrialState.PRUNED for trial in trials),
        failed=sum(trial.state is TrialState.FAIL for trial in trials),
        parameters=dict(best.params),
        run_id=parent,
    )
