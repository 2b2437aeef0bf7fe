"""What documents point at is there: files, pictures, make targets and commands."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout.split()
DOCUMENTS = LISTED or [str(path.relative_to(ROOT)) for path in ROOT.glob("*.md")]
OWN = {"run", "doctor", "top", "pause", "resume"}
"""Commands of the profiler's own."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link and picture is a file or folder of the project."""
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{name} points at {target}, which is not there"


def test_commands_and_targets_exist() -> None:
    """`make TARGET` and `metercast COMMAND` in any document are ones that there are."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = OWN | {one.name for one in entry_points(group="metercast.commands")}
    for name in DOCUMENTS:
        code = re.findall(r"`([^`\n]+)`|^    (\S[^\n]*)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for text in ("".join(pair) for pair in code):
            if found := re.match(r"make ([a-z-]+)", text):
                assert found[1] in targets, f"{name} names `make {found[1]}`"
            if found := re.match(r"(?:\.venv/bin/)?metercast ([a-z]+)", text):
                assert found[1] in commands, f"{name} names `metercast {found[1]}`"
