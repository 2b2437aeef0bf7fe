"""The champion: the model bundle in force, followed while the server runs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from models.bundle import load
from models.contracts import Forecaster


class ChampionWatch:
    """Loads the bundle in a directory and loads it again when another one is put in its place.

    A bundle that cannot be loaded never replaces one that works: `current` goes on answering with the last good one
    and `problem` says what is wrong with the new one.
    """

    def __init__(self, directory: Path) -> None:
        """Follow ``directory``, which need not exist yet."""
        self.directory = directory
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._identity: tuple[str, int, int] | None = None
        self._loaded: tuple[Forecaster, dict[str, Any]] | None = None

    def current(self) -> tuple[Forecaster, dict[str, Any]] | None:
        """The champion and its metadata, or None while no model has been promoted."""
        with self._lock:
            identity = self._look()
            if identity is not None and identity != self._identity:
                self._load(identity)
            return self._loaded

    def _look(self) -> tuple[str, int, int] | None:
        """What tells one bundle from another: its real place, inode and time; None where there is none."""
        manifest = self.directory / "bundle.json"
        try:
            found = manifest.stat()
            return str(manifest.resolve()), found.st_ino, found.st_mtime_ns
        except OSError:
            return None

    def _load(self, identity: tuple[str, int, int]) -> None:
        self._identity = identity  # a bundle that is broken is not tried again until it changes
        try:
            forecaster, metadata = load(self.directory)
        except (OSError, ValueError) as error:
            self.problem = f"the bundle in {self.directory} cannot be loaded, the model before it stays: {error}"
            return
        self._loaded = forecaster, dict(metadata)
        self.problem = None
