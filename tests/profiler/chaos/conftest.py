"""Runs a program that counts what it produces, against servers and disks that fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ..conftest import ENGINES, _engine_or_skip, environment

SCALE = float(os.environ.get("METERCAST_CHAOS_SCALE", "1"))
"""How long the scenarios last against their short form; `make chaos-profiler` sets it."""

PRODUCER = """
import sys, threading, time
from metercast import custom, operation
seconds, pause = float(sys.argv[1]), float(sys.argv[2])
threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
produced = [0] * threads
def work(number):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with operation(f"work-{number}", user=f"user-{produced[number] % 3}"):
            custom("things", 1)
            custom("cents", 7)
        produced[number] += 1
        if pause: time.sleep(pause)
workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(sum(produced))
"""


class Program:
    """A metered program in a process of its own."""

    def __init__(self, directory, engine, url, text, arguments, preexec=None, **more):
        script = directory / "producer.py"
        script.write_text(text)
        self.directory = directory
        settings = {
            "METERCAST_ENGINE": engine,
            "METERCAST_SPOOL": str(directory / "spool"),
            "METERCAST_INTERVAL_S": "0.05",
            "METERCAST_TIMEOUT_S": "1",
            "METERCAST_BATCH_EVENTS": "300",
            "METERCAST_CPU_BUDGET": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metercast.command", "run", "--to", url, str(script), *map(str, arguments)],
            env=environment(**settings | more),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec,  # noqa: PLW1509 -- no other thread of the tests starts processes
        )

    def end(self, code=0):
        """(what it printed, what it said on stderr) once it has ended."""
        output, errors = self.process.communicate(timeout=120 * max(1, SCALE))
        assert self.process.returncode == code, errors
        return output, errors

    @staticmethod
    def lost(errors, meter="things"):
        """Units of a meter that were told to be lost."""
        told = re.search(rf"metercast: lost \d+ events \((?:.*, )?([\d.e+]+) {meter}[,)]", errors)
        return round(float(told.group(1))) if told else 0


@pytest.fixture(params=ENGINES)
def program(request, tmp_path):
    """Start a metered program: ``program(url, *arguments, text=PRODUCER, **environment)``."""
    _engine_or_skip(request.param)
    started = []

    def start(url, *arguments, text=PRODUCER, **more):
        started.append(Program(tmp_path, request.param, url, text, arguments, **more))
        return started[-1]

    start.engine = request.param
    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
