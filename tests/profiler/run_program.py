"""Runs a small program in a process of its own under the profiler and returns the events it left behind."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any


def run_program(directory: Path, source: str, *options: str, **environment: str) -> list[dict[str, Any]]:
    """Events of ``metercast run`` on a script; the script's own exit code must be 0."""
    script = directory / "program.py"
    script.write_text(textwrap.dedent(source))
    target = directory / "batches"
    command = [sys.executable, "-m", "metercast.command", "run", "--to", str(target), *options, "--", str(script)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr
    return read_batches(target)


def read_batches(directory: Path) -> list[dict[str, Any]]:
    """All events of the batches in a directory, in the order of their sequence."""
    batches = [json.loads(gzip.decompress(path.read_bytes())) for path in directory.glob("*.json.gz")]
    keys = [(batch["producer"], batch["epoch"], batch["sequence"]) for batch in batches]
    assert len(keys) == len(set(keys))
    return [event for batch in sorted(batches, key=lambda batch: batch["sequence"]) for event in batch["events"]]


def total(events: list[dict[str, Any]], operation: str, kind: str, field: str) -> float:
    """The sum of a resource over the events of an operation and micro-operation type."""
    return sum(
        event["resourceUsage"][field]
        for event in events
        if (event["operationID"], event["microOperationType"]) == (operation, kind)
    )


def runs(events: list[dict[str, Any]], operation: str) -> float:
    """How often an operation ran."""
    return sum(
        event["units"] for event in events if event["operationID"] == operation and event["meter"] == "executions"
    )
