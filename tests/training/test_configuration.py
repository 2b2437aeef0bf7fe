"""What ships in configs is valid, and editors are told the truth about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from models.forecasters.registry import CHALLENGERS, FORECASTERS
from training.configuration import ConfigurationError, load_configuration, load_tune_configuration
from training.schemas import SCHEMAS, schema_text

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_schemas_are_those_of_the_code(name: str) -> None:
    """After a change of the settings: `python -m training.schemas`."""
    assert (CONFIGS / "schemas" / name).read_text(encoding="utf-8") == schema_text(name)


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_training_configurations_load(path: Path) -> None:
    """Each is checked as a user's would be, and names its schema."""
    named = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    for name in named:
        if name not in FORECASTERS:
            assert name in CHALLENGERS
            with pytest.raises(ConfigurationError, match="not installed: pip install"):
                load_configuration(path)
            return
    assert load_configuration(path).models == named
    assert "schemas/train.schema.json" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((CONFIGS / "tune").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_searches_load(path: Path) -> None:
    """Each is checked as a user's would be, and names its schema."""
    assert load_tune_configuration(path).space
    assert "schemas/tune.schema.json" in path.read_text(encoding="utf-8")
