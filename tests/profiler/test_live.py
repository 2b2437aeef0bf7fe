"""A running program from outside: what it costs now, and the switch that stops and resumes its metering."""

import json
import subprocess
import sys
import time

import pytest

from .conftest import ENGINES, _engine_or_skip, environment, read_batches

PROGRAM = """
import sys, time
from metercast import custom, operation
end = time.monotonic() + 60
with open("told", "w", buffering=1) as told:
    while time.monotonic() < end:
        for _ in range(10):
            with operation("work", user="ann"):
                with open("out", "wb", buffering=0) as out: out.write(b"x" * 100)
                custom("things", 1)
        time.sleep(0.01)
"""


@pytest.fixture(params=ENGINES)
def running(request, tmp_path):
    """A metered program that runs until it is terminated, and `metercast` commands beside it."""
    _engine_or_skip(request.param)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "control").mkdir(mode=0o700)
    env = environment(
        METERCAST_ENGINE=request.param,
        METERCAST_CONTROL=str(tmp_path / "control"),
        METERCAST_INTERVAL_S="0.05",
        METERCAST_CPU_BUDGET="1",
    )
    command = [sys.executable, "-m", "metercast.command"]
    process = subprocess.Popen([*command, "run", "--to", "batches", "program.py"], cwd=tmp_path, env=env)

    def metercast(*arguments, code=0):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=env, check=False, timeout=60)
        assert done.returncode == code, done.stderr
        return done

    end = time.monotonic() + 30
    while not list((tmp_path / "control").glob("*.sock")) and time.monotonic() < end:
        time.sleep(0.02)
    yield process, metercast, tmp_path
    process.kill()
    process.wait()


def things(directory):
    """Units that arrived so far."""
    events = [event for batch in read_batches(directory / "batches") for event in batch["events"]]
    return sum(event["units"] for event in events if event["meter"] == "things"), events


def test_a_running_program_is_watched_paused_and_resumed(running):
    """`top` shows rates that fit together; after `pause` nothing is metered, after `resume` it is; both are events."""
    process, metercast, directory = running
    document = json.loads(metercast("top", "--json", "--interval", "0.5").stdout)
    work = next(row for row in document["operations"] if row["operation"] == "work")
    assert work["runs"] > 0
    assert work["micro_operations"]["DISK_WRITE"]["diskBytes"] == pytest.approx(100 * work["runs"], rel=0.01)
    assert work["micro_operations"]["CUSTOM"]["units"] == pytest.approx(work["runs"], rel=0.01)
    assert [one["process"] for one in document["processes"]] == [process.pid]
    assert "work" in metercast("top", "--once", "--interval", "0.2", str(process.pid)).stdout

    assert json.loads(metercast("pause", "--json", str(process.pid)).stdout) == [
        {"process": process.pid, "is_on": False}
    ]
    time.sleep(0.3)
    paused, _ = things(directory)
    time.sleep(0.5)
    assert things(directory)[0] == paused
    metercast("resume", "--all")
    end = time.monotonic() + 20
    while things(directory)[0] <= paused and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == -15
    total, events = things(directory)
    assert total > paused
    changes = [event["source"] for event in events if event["meter"] == "detail_changes"]
    assert changes == ["metering paused: by `metercast pause`", "metering resumed: by `metercast resume`"]
    assert not list((directory / "control").iterdir())
    metercast("top", code=1)


def test_a_program_pauses_its_own_metering(metered):
    """`metercast.pause` and `resume` leave out what is between them, and say so."""
    run = metered(
        """
import metercast
from metercast import custom, operation
for number in range(3):
    if number == 1: metercast.pause("a secret")
    if number == 2: metercast.resume()
    with operation("work"):
        custom("things", 1)
        open("x", "wb").write(b"y" * 100)
"""
    )
    assert run.total("units", "work", "CUSTOM") == 2
    assert run.total("diskBytes", "work", "DISK_WRITE") == 200
    changes = [event["source"] for event in run.events if event["meter"] == "detail_changes"]
    assert changes == ["metering paused: a secret", "metering resumed: by the program"]


def test_a_directory_that_others_may_write_to_is_not_used(tmp_path):
    """Whoever can put a socket there could answer in the program's place."""
    from metercast.shipping.control import control_directory

    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert control_directory(str(shared)) is None
    assert control_directory("off") is None
    assert control_directory(str(tmp_path / "own")) == str(tmp_path / "own")
