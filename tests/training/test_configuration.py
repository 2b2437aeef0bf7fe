"""What ships in configs is valid, and editors are told the truth about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.configuration import load_configuration, load_tune_configuration
from training.schemas import SCHEMAS, schema_text

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_schemas_are_those_of_the_code(name: str) -> None:
    """After a change of the settings: `python -m training.schemas`."""
    assert (CONFIGS / "schemas" / name).read_text(encoding="utf-8") == schema_text(name)


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_training_configurations_load(path: Path) -> None:
    """Each is checked as a user's would be, and names its schema."""
    assert load_configuration(path).models
    assert "schemas/train.schema.json" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((CONFIGS / "tune").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_searches_load(path: Path) -> None:
    """Each is checked as a user's would be, and names its schema."""
    assert load_tune_configuration(path).space
    assert "schemas/tune.schema.json" in path.read_text(encoding="utf-8")
