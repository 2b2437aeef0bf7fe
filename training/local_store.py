"""The MLflow store inside a data directory: made whole or not at all, however many commands come first at once."""

from __future__ import annotations

import os
from pathlib import Path

from training.turns import turn

FILE, DRAFT = "mlflow.db", "mlflow.db.draft"
ARTIFACTS = "mlartifacts"


def local_store(directory: Path) -> str:
    """The URI of the store of a directory, which is made with its tables where it is missing."""
    directory = directory.resolve()
    file = directory / FILE
    if not file.is_file():
        with turn(directory):
            if not file.is_file():
                _make(directory)
    return f"sqlite:///{file}"


def _make(directory: Path) -> None:
    """MLflow's tables take it seconds and dozens of steps, so they grow in a draft that a kill leaves behind."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = directory / DRAFT
    draft.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{draft}", (directory / ARTIFACTS).as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    os.replace(draft, directory / FILE)
