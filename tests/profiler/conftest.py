"""Runs metered programs in processes of their own, and an engine of this process without interception."""

import gzip
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from metercast import operations, runtime
from metercast.event import MICRO_OPERATION_TYPES
from metercast.runtime import make_engine

ROOT = Path(__file__).resolve().parents[2]


class Run:
    """What a metered program printed and what was recorded of it."""

    def __init__(self, process, directory, engine):
        self.engine = engine
        self.code = process.returncode
        self.output = process.stdout
        self.errors = process.stderr
        self.batches = read_batches(directory)
        self.events = [event for batch in self.batches for event in batch["events"]]

    def total(self, field, operation=None, kind=None, user=None):
        """Sum of a resource field (or `units`, `events`) over the events that match."""
        values = [
            1 if field == "events" else event["units"] if field == "units" else event["resourceUsage"][field]
            for event in self.events
            if operation in (None, event["operationID"])
            and kind in (None, event["microOperationType"])
            and user in (None, event["userID"])
            and (event["microOperationType"] != "PROFILER_SELF" or kind == "PROFILER_SELF")
        ]
        return sum(values)

    def operations(self):
        """Names of the operations seen."""
        return {event["operationID"] for event in self.events}


def read_batches(directory):
    """Every batch in a directory."""
    return [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(Path(directory).glob("*.json.gz"))]


def environment(**more):
    """The environment of a metered child: this checkout first on the path."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}
    return base | {"PYTHONPATH": str(ROOT / "profiler")} | more


ENGINES = ["python", "compiled"]


def _engine_or_skip(name):
    try:
        return make_engine(name)
    except ImportError:
        pytest.skip("the compiled engine was not built; `pip install -e ./profiler` builds it where a compiler is")


@pytest.fixture(params=ENGINES)
def metered(request, tmp_path):
    """Run a program's text under `metercast run` and read what was recorded."""

    _engine_or_skip(request.param)

    def run(text, *arguments, options=(), code=0, **env):
        script, batches = tmp_path / "program.py", tmp_path / "batches"
        script.write_text(text)
        command = [sys.executable, "-m", "metercast.command", "run", *options, "--to", str(batches), "--"]
        process = subprocess.run(
            [*command, str(script), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=environment(**{"METERCAST_ENGINE": request.param, "METERCAST_CPU_BUDGET": "1"} | env),
        )
        assert process.returncode == code, process.stderr
        assert "not intercepted" not in process.stderr
        return Run(process, batches, request.param)

    return run


class Recorder:
    """The engine of this process, recording without interception; `take` gives what it recorded."""

    def __init__(self, engine):
        self.engine = engine

    def take(self):
        """{operation: {type: {cpu_ns, duration_ns, records, units}}}"""
        totals = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
        for record in self.engine.take(1 << 30):
            _, execution, code, cpu_ns, _, network, disk, duration_ns, units, _ = record
            total = totals[execution.operation][MICRO_OPERATION_TYPES[code]]
            total["cpu_ns"] += cpu_ns
            total["duration_ns"] += duration_ns
            total["disk"] += disk
            total["network"] += network
            total["units"] += units
            total["records"] += 1
        return totals

    def users(self):
        """{operation: user} of what is in the ring."""
        return {record[1].operation: record[1].user for record in self.engine.take(1 << 30)}


@pytest.fixture(params=ENGINES)
def recorder(request, monkeypatch):
    """An engine of each kind in the place of this process's own, on for one test."""
    engine = _engine_or_skip(request.param)
    engine.is_on = True
    monkeypatch.setattr(operations, "engine", engine)
    use = getattr(operations.operation, "use", lambda _: None)
    use(engine)
    yield Recorder(engine)
    engine.is_on = False
    use(runtime.engine)
