"""Embedding the profiler costs a program next to nothing at its start."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

_PROBE = """
import json, sys, time
before = set(sys.modules)
started = time.process_time()
import metercast
spent_ms = (time.process_time() - started) * 1e3
print(json.dumps({"spent_ms": spent_ms, "modules": sorted(set(sys.modules) - before)}))
"""


def _probe() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_only_the_standard_library_is_imported() -> None:
    """Whatever else is installed, `import metercast` brings only itself and the standard library."""
    modules = _probe()["modules"]
    assert isinstance(modules, list)
    foreign = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"metercast"}
    assert not foreign


def test_import_takes_milliseconds() -> None:
    """The median import is below 15 ms, or below twice that of a few standard modules where machines are slow."""
    spent = statistics.median(float(str(_probe()["spent_ms"])) for _ in range(7))
    yardstick = (
        "import time; t=time.process_time(); import email.message, http.client, ssl; print((time.process_time()-t)*1e3)"
    )
    done = subprocess.run([sys.executable, "-c", yardstick], capture_output=True, text=True, check=True)
    assert spent < max(15.0, 2 * float(done.stdout))
