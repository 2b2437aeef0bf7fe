"""MLflow: runs with parameters, figures and bundles, a registry of versions, and the alias ``champion``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Before MLflow is imported: it must neither phone home nor fill the terminal with hints.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
for _name in ("mlflow", "alembic", "alembic.runtime.migration"):
    logging.getLogger(_name).setLevel(logging.ERROR)

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

MODEL = "metercast-forecaster"
"""The registered model; each trained forecaster is a version of it, told apart by the tag ``kind``."""

ALIAS = "champion"


class UnknownVersionError(ValueError):
    """No such version in the registry; the message lists those there are."""


class Tracking:
    """One MLflow store: that of ``MLFLOW_TRACKING_URI``, or SQLite and files inside a data directory."""

    def __init__(self, directory: Path, experiment: str = "metercast") -> None:
        """Open the store, making it and the experiment where they are missing."""
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{directory.resolve() / 'mlflow.db'}"
        directory.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        self._client = MlflowClient(self.uri, self.uri)
        self._local = None if os.environ.get("MLFLOW_TRACKING_URI") else directory.resolve() / "mlartifacts"
        self._experiment_id = self._experiment(experiment)

    def record(
        self, kind: str, parameters: Mapping[str, Any], figures: Mapping[str, float], bundle: Path
    ) -> tuple[str, str]:
        """Log a run with its bundle and register it; returns (run id, version)."""
        run = self._client.create_run(self._experiment_id, run_name=kind, tags={"kind": kind})
        run_id = run.info.run_id
        for key, value in parameters.items():
            self._client.log_param(run_id, key, value)
        for key, value in figures.items():
            if value == value:  # noqa: PLR0124 -- NaN is no figure
                self._client.log_metric(run_id, key, value)
        self._client.log_artifacts(run_id, str(bundle), "bundle")
        self._client.set_terminated(run_id)
        return run_id, self._register(kind, run_id, run.info.artifact_uri)

    def log_figure(self, run_id: str, figure: Any, name: str) -> None:
        """Attach a matplotlib figure to a run."""
        self._client.log_figure(run_id, figure, name)

    def set_champion(self, version: str) -> None:
        """Point the alias at a version; raises UnknownVersionError when there is none such."""
        try:
            self._client.set_registered_model_alias(MODEL, ALIAS, version)
        except MlflowException as error:
            raise UnknownVersionError(f"no version {version!r} of {MODEL}; {self._known()}") from error

    def champion(self) -> str | None:
        """The version that the alias points at."""
        try:
            return str(self._client.get_model_version_by_alias(MODEL, ALIAS).version)
        except MlflowException:
            return None

    def bundle_of(self, version: str, target: Path) -> Path:
        """Fetch the bundle of a version into a directory; raises UnknownVersionError when there is none such."""
        try:
            found = self._client.get_model_version(MODEL, version)
        except MlflowException as error:
            raise UnknownVersionError(f"no version {version!r} of {MODEL}; {self._known()}") from error
        return Path(self._client.download_artifacts(str(found.run_id), "bundle", str(target)))

    def versions(self) -> dict[str, str]:
        """Versions and their kinds, oldest first."""
        found = self._client.search_model_versions(f"name='{MODEL}'")
        return {str(one.version): str(one.tags.get("kind")) for one in sorted(found, key=lambda one: int(one.version))}

    def _known(self) -> str:
        versions = self.versions()
        listed = ", ".join(f"{version} ({kind})" for version, kind in versions.items())
        return f"there are {listed}" if versions else "nothing has been trained yet; run `metercast train`"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = self._local.as_uri() if self._local is not None else None
        return str(self._client.create_experiment(name, artifact_location=location))

    def _register(self, kind: str, run_id: str, artifact_uri: str) -> str:
        try:
            self._client.get_registered_model(MODEL)
        except MlflowException:
            self._client.create_registered_model(MODEL)
        version = self._client.create_model_version(MODEL, f"{artifact_uri}/bundle", run_id, tags={"kind": kind})
        return str(version.version)
