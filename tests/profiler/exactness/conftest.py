"""Compares what a program is billed with the kernel's own counters of the thread it ran in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

_MEASURE = """
import json as _json, os as _os
from metercast import operation as _operation
_counters = _os.open("/proc/thread-self/io", _os.O_RDONLY)
_kernel = {}
def _measure(name, function):
    before = _os.pread(_counters, 256, 0)
    with _operation(name):
        function()
    after = _os.pread(_counters, 256, 0)
    read, written = (int(after.split()[place]) - int(before.split()[place]) for place in (1, 3))
    _kernel[name] = (read - len(before), written)  # without the reading of the counters themselves
"""


class KernelRun:
    """A run of cases, each with what the kernel counted."""

    def __init__(self, run) -> None:
        self.engine = run.engine
        self.output = run.output
        self.kernel = {name: tuple(pair) for name, pair in json.loads(run.output.splitlines()[-1]).items()}
        self.billed = {name: _crossed(run, name) for name in self.kernel}

    def differences(self, names=None):
        """{case: (billed, kernel)} where they are not the same, each (bytes read, bytes written)."""
        names = self.kernel if names is None else names
        return {n: (self.billed[n], self.kernel[n]) for n in names if self.billed[n] != self.kernel[n]}


def _crossed(run, name):
    """Bytes (read, written) of an operation through files, pipes and devices."""
    return tuple(
        sum(
            run.total(field, name, f"{where}_{way}")
            for where, field in (("DISK", "diskBytes"), ("MEMORY", "memoryBytes"))
        )
        for way in ("READ", "WRITE")
    )


@pytest.fixture
def measured(metered) -> Callable[..., KernelRun]:
    """Run each named function of a program as an operation of its own, beside the kernel's counters."""
    if not Path("/proc/thread-self/io").exists():
        pytest.skip("this kernel does not count the bytes of system calls (/proc/thread-self/io)")

    def run(text, names, **environment):
        calls = "".join(f"_measure({name!r}, {name})\n" for name in names)
        return KernelRun(metered(_MEASURE + text + calls + "print(_json.dumps(_kernel))\n", **environment))

    return run
