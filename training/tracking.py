"""MLflow: runs with parameters, figures and bundles, a registry of versions, and the alias ``champion``."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Before MLflow is imported: it must neither phone home nor fill the terminal with hints.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
for _name in ("mlflow", "alembic", "alembic.runtime.migration"):
    logging.getLogger(_name).setLevel(logging.ERROR)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from training.local_store import ARTIFACTS, local_store  # noqa: E402

MODEL = "metercast-forecaster"
"""The registered model; each trained forecaster is a version of it, told apart by the tag ``kind``."""

ALIAS, CHALLENGER = "champion", "challenger"

ARTIFACT = "model"
"""Where a run keeps its MLflow model, which holds the bundle."""

BUNDLE = f"{ARTIFACT}/data/bundle"

METRICS_PER_WRITE = 1000
"""MLflow takes no more at once."""


class UnknownVersionError(ValueError):
    """No such version in the registry; the message lists those there are."""


class Tracking:
    """One MLflow store: that of ``MLFLOW_TRACKING_URI``, or SQLite and files inside a data directory."""

    def __init__(self, directory: Path, experiment: str = "metercast") -> None:
        """Open the store, making it and the experiment where they are missing."""
        server = os.environ.get("MLFLOW_TRACKING_URI")
        directory.mkdir(parents=True, exist_ok=True)
        self.uri = server or local_store(directory)
        # Not mlflow.set_tracking_uri: it writes the variable read above, and the next directory would land here.
        self._client = MlflowClient(self.uri, self.uri)
        self._local = None if server else directory.resolve() / ARTIFACTS
        self._experiment_id = self._experiment(experiment)

    def start(
        self,
        name: str,
        parameters: Mapping[str, Any],
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Begin a run, nested in ``parent`` where one is given; returns its id."""
        tags = dict(tags or {}) | ({"mlflow.parentRunId": parent} if parent is not None else {})
        run_id = str(self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id)
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
        return run_id

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(run_id, status)

    def log_figures(self, run_id: str, figures: Mapping[str, float], step: int = 0) -> None:
        """Add figures to a run in one write; what is not finite is left out, as stores refuse it."""
        self.log_curves(run_id, [(step, figures)])

    def log_curves(self, run_id: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Add figures at many steps in one write (a SQLite store pays for each)."""
        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(key, value, now_ms, step)
            for step, figures in points
            for key, value in figures.items()
            if math.isfinite(value)
        ]
        for first in range(0, len(metrics), METRICS_PER_WRITE):
            self._client.log_batch(run_id, metrics=metrics[first : first + METRICS_PER_WRITE])

    def log_document(self, run_id: str, document: Mapping[str, Any], name: str) -> None:
        """Attach a JSON document to a run."""
        self._client.log_dict(run_id, dict(document), name)

    def log_file(self, run_id: str, path: Path) -> None:
        """Attach a file to a run, under its own name."""
        self._client.log_artifact(run_id, str(path))

    def register(self, run_id: str, kind: str, model: Path) -> str:
        """Attach an MLflow model (a directory with MLmodel) to a run and register it; returns the version."""
        self._client.set_tag(run_id, "kind", kind)
        self._client.log_artifacts(run_id, str(model), ARTIFACT)
        return self._register(kind, run_id, self._client.get_run(run_id).info.artifact_uri)

    def log_figure(self, run_id: str, figure: Any, name: str) -> None:
        """Attach a matplotlib figure to a run."""
        self._client.log_figure(run_id, figure, name)

    def set_champion(self, version: str) -> None:
        """Point the alias at a version; raises UnknownVersionError when there is none such."""
        self._set_alias(ALIAS, version)

    def set_challenger(self, version: str) -> None:
        """Point the other alias at what challenged the champion last; raises UnknownVersionError."""
        self._set_alias(CHALLENGER, version)

    def _set_alias(self, alias: str, version: str) -> None:
        try:
            self._client.set_registered_model_alias(MODEL, alias, version)
        except MlflowException as error:
            raise UnknownVersionError(f"no version {version!r} of {MODEL}; {self._known()}") from error

    def champion(self) -> str | None:
        """The version that the alias points at."""
        try:
            return str(self._client.get_model_version_by_alias(MODEL, ALIAS).version)
        except MlflowException:
            return None

    def bundle_of(self, version: str, target: Path) -> Path:
        """Fetch the bundle of a version into a directory; raises UnknownVersionError where it cannot be had."""
        try:
            return Path(self._client.download_artifacts(self.run_of(version), BUNDLE, str(target)))
        except (MlflowException, OSError) as error:
            raise UnknownVersionError(f"version {version} has no bundle that can be fetched: {error}") from error

    def run_of(self, version: str) -> str:
        """The run that a version was registered by; raises UnknownVersionError when there is none such."""
        try:
            return str(self._client.get_model_version(MODEL, version).run_id)
        except MlflowException as error:
            raise UnknownVersionError(f"no version {version!r} of {MODEL}; {self._known()}") from error

    def versions(self) -> dict[str, str]:
        """Versions and their kinds, oldest first."""
        found = self._client.search_model_versions(f"name='{MODEL}'")
        return {str(one.version): str(one.tags.get("kind")) for one in sorted(found, key=lambda one: int(one.version))}

    def _known(self) -> str:
        versions = self.versions()
        listed = ", ".join(f"{version} ({kind})" for version, kind in versions.items())
        return f"there are {listed}" if versions else "nothing has been trained yet; run `metercast train`"

    def _experiment(self, name: str) -> str:
        location = self._local.as_uri() if self._local is not None else None
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=location))
            except MlflowException:  # another command may have come first
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _register(self, kind: str, run_id: str, artifact_uri: str) -> str:
        try:
            self._client.create_registered_model(MODEL)
        except MlflowException:  # raises what is wrong unless it is there already
            self._client.get_registered_model(MODEL)
        version = self._client.create_model_version(MODEL, f"{artifact_uri}/{ARTIFACT}", run_id, tags={"kind": kind})
        return str(version.version)
