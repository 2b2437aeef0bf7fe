"""One short demo for all tests that look at what a demo leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "metercast.command", "demo"]


def run_demo(data: Path) -> dict[str, Any]:
    """The document of a demo that collects for 45 s; nothing of it runs on afterwards."""
    command = [*COMMAND, "--data", str(data), "--seconds", "45", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert not alive(str(data))
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def alive(mark: str) -> list[str]:
    """Command lines of running processes that mention ``mark``."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found
