"""JSON Schemas of the configuration files, for editors to complete and check them: `python -m training.schemas`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from training.configuration import TrainConfiguration, TuneConfiguration

SCHEMAS: dict[str, type[BaseModel]] = {"train.schema.json": TrainConfiguration, "tune.schema.json": TuneConfiguration}
"""File name in configs/schemas -> what it describes."""


def schema_text(name: str) -> str:
    """The schema of a file name of `SCHEMAS`, as it is committed."""
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def main(argv: list[str]) -> int:
    """Write all schemas into a directory (default: configs/schemas)."""
    directory = Path(argv[0]) if argv else Path(__file__).resolve().parents[1] / "configs" / "schemas"
    directory.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (directory / name).write_text(schema_text(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
