"""The OpenAPI document as a file: `python -m serving.api.reference` writes it anew; a test compares it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from serving.api.app import create_app
from serving.settings import Settings

FILE = Path(__file__).with_name("openapi.json")


def document(plans: Path = Path("configs/plans")) -> dict[str, Any]:
    """The document that a server serves at /openapi.json."""
    with tempfile.TemporaryDirectory() as data:
        app = create_app(Settings(data=Path(data), plans=plans))
        made: dict[str, Any] = app.openapi()
        app.state.platform.stop()
    return made


def text(made: dict[str, Any]) -> str:
    """The document as it is committed."""
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(document()), encoding="utf-8")
