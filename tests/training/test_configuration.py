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


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("promot: true", "promot: there is no such key; did you mean 'promote'?"),
        ("lstm: {dropout: 0.2}", "lstm.dropout: there is no such key; allowed: batch_size, context_seasons, hidden"),
        ("backtest: {origins: many}", "backtest.origins: it should be a valid integer"),
        ("lstm: {steps: 0}", "lstm.steps: it should be greater than or equal to 1 (found 0)"),
        ("models: [prophet]", "models.0: it should be 'seasonal-naive', 'markov'"),
        ("- models", "keys and values are needed (found ['models'])"),
        ("models: [lstm", "not valid YAML"),
        (b"\xff\xfe", "no text in UTF-8"),
    ],
)
def test_a_wrong_configuration_is_told_with_the_way_out(tmp_path: Path, document: str | bytes, told: str) -> None:
    """The file, the key, what was found and what is allowed; a key that is nearly right is proposed."""
    path = tmp_path / "wrong.yaml"
    path.write_bytes(document.encode() if isinstance(document, str) else document)
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(path)
    assert f"{path}: {told}" in str(raised.value)


def test_every_fault_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    """Whoever mends one need not run the command again to see the next."""
    path = tmp_path / "wrong.yaml"
    path.write_text("lstm: {steps: 0, hidden: big}\npromot: true\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(path)
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()] == ["lstm.hidden", "lstm.steps", "promot"]
