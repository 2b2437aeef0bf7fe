"""The model bundle: a directory of JSON and plain arrays that training writes and serving reads; never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.contracts import Forecaster, State

FORMAT = 3
_MANIFEST, _ARRAYS = "bundle.json", "arrays.npz"


class BundleError(ValueError):
    """A bundle that cannot be used: damaged, of another format, or of an unknown model."""


def save(forecaster: Forecaster, directory: Path, metadata: Mapping[str, Any]) -> None:
    """Write a bundle so that readers see the whole of it or none; what was at ``directory`` is replaced."""
    state = forecaster.state()
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in state.arrays.items()}
        np.savez(draft / _ARRAYS, **arrays)
        manifest = {
            "format": FORMAT,
            "kind": forecaster.name,
            "sha256": _digest(draft / _ARRAYS),
            "metadata": dict(metadata),
            "document": dict(state.document),
        }
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")
        _replace(draft, directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def load(directory: Path) -> tuple[Forecaster, dict[str, Any]]:
    """The forecaster of a bundle and its metadata; raises BundleError saying what is wrong with it."""
    try:
        manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{directory} has no {_MANIFEST}; give the directory of a model bundle") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{directory / _MANIFEST} cannot be read: {error}") from error
    from models.forecasters.registry import FORECASTERS  # brings torch along; who has no bundle starts without

    if manifest.get("format") != FORMAT:
        raise BundleError(f"{directory} has format {manifest.get('format')!r}, this version reads {FORMAT}")
    kind = manifest.get("kind")
    if kind not in FORECASTERS:
        raise BundleError(f"{directory} holds a {kind!r}; known models are {', '.join(FORECASTERS)}")
    try:
        if _digest(directory / _ARRAYS) != manifest.get("sha256"):
            raise BundleError(f"{directory / _ARRAYS} does not match its checksum; export the model again")
        with np.load(directory / _ARRAYS, allow_pickle=False) as arrays:
            state = State(manifest["document"], {name: arrays[name] for name in arrays.files})
        return FORECASTERS[kind].restore(state), dict(manifest["metadata"])
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise BundleError(f"{directory} is damaged: {error!r}; export the model again") from error


def _replace(draft: Path, directory: Path) -> None:
    """Put the draft in place; a directory cannot be renamed over another, so the old one steps aside first."""
    if directory.exists():
        aside = draft.with_name(draft.name + "-old")
        os.rename(directory, aside)
        os.rename(draft, directory)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.rename(draft, directory)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
