"""The champion: the model bundle in force, followed while the server runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from features.series import COUNTED
from models.bundle import load
from models.contracts import Forecaster


class ChampionWatch:
    """Loads the bundle in a directory and loads it again when another one is put in its place.

    A bundle that cannot be loaded never replaces one that works: `current` goes on answering with the last good one
    and `problem` says what is wrong with the new one.
    """

    def __init__(self, directory: Path, windows_s: Collection[int] = ()) -> None:
        """Follow ``directory``, which need not exist yet; ``windows_s`` are the lengths kept here (empty: any)."""
        self.directory = directory
        self.windows_s = windows_s
        self.problem: str | None = None
        self.loaded: Callable[[], object] = lambda: None
        """Called after a bundle was loaded, which brings torch along at the first time."""
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
            check_columns(metadata, self.windows_s)
        except (OSError, ValueError) as error:
            self.problem = f"the bundle in {self.directory} cannot be loaded, the model before it stays: {error}"
            return
        self._loaded = forecaster, dict(metadata)
        self.problem = None
        self.loaded()


def check_columns(metadata: Mapping[str, Any], windows_s: Collection[int]) -> None:
    """Raises ValueError for a model that was trained on other columns or windows than those kept here."""
    unknown = sorted(set(metadata.get("resources", ())) - set(COUNTED))
    custom = [name for name in unknown if name.endswith(("_cycles", "_bytes", "_ms"))]
    if custom:
        raise ValueError(f"it was trained on {', '.join(custom)}; here there are {', '.join(COUNTED)} and meters")
    length = metadata.get("window_s")
    if windows_s and length not in windows_s:
        raise ValueError(f"it was trained on windows of {length} s; kept here are {', '.join(map(str, windows_s))}")
