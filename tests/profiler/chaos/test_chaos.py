"""Chaos: whatever fails, what is produced is what is delivered plus what is counted as lost, never more, never fewer.

The short form runs with the tests; `make chaos-profiler` runs the same for longer (METERCAST_CHAOS_SCALE).
"""

from __future__ import annotations

import random
import resource
import struct
import time

import pytest

from ..platform_server import Server
from .conftest import SCALE, Program
from .platform_in_trouble import TroubledServer

EMPTY = "pass"
KILLED = """
import mmap, sys, threading, time
from metercast import custom, operation
file = open("produced", "r+b")
produced = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")
def work(number):
    while True:
        with operation(f"work-{number}"):
            custom("things", 1)
            custom("cents", 7)
        produced[number] += 1
        if produced[number] % 4 == 0: time.sleep(0.002)
other = threading.Thread(target=work, args=(1,), daemon=True); other.start()
work(0)
"""


def delivered(server):
    """(things, cents / 7, runs) that arrived; the three are the same where each run arrived whole."""
    operations = {name for rows in server.batches.values() for name in rows["operation_id"].to_pylist()}
    names = [name for name in operations if name.startswith("work")]
    things = sum(server.total("units", name, meter="things") for name in names)
    cents = sum(server.total("units", name, meter="cents") for name in names)
    runs = sum(server.total("units", name, meter="executions") for name in names)
    return things, cents / 7, runs


def deliver_the_spool(program, server, tmp_path):
    """Runs of an empty program deliver what earlier ones left."""
    end = time.monotonic() + 120 * max(1, SCALE)
    while list((tmp_path / "spool").rglob("*.mcb.gz")) and time.monotonic() < end:
        program(server.url, text=EMPTY, METERCAST_TIMEOUT_S="10").end()


def test_ten_times_more_than_can_be_shipped(program, tmp_path):
    """Four threads at full speed into a small ring and a slow server: detail goes, amounts do not."""
    server = Server()
    server.answers = ["slow"] * 10_000
    produced, errors = program(server.url, 2 * SCALE, 0, 4, METERCAST_RING_CAPACITY="400").end()
    server.answers.clear()
    deliver_the_spool(program, server, tmp_path)
    server.close()
    assert delivered(server) == (int(produced),) * 3, errors
    assert server.total("units", meter="dropped_events") > 0
    assert not server.gaps()
    assert Program.lost(errors) == 0


def test_a_server_that_fails_in_every_way(program, tmp_path):
    """Errors, 429, cut connections, hanging and slow answers: everything arrives once."""
    server = TroubledServer(seed=7, ends_s=4 * SCALE)
    produced, errors = program(server.url, 3 * SCALE, 0.002, METERCAST_TIMEOUT_S="0.5").end()
    server.calm_at_s = 0.0
    deliver_the_spool(program, server, tmp_path)
    server.close()
    assert delivered(server) == (int(produced),) * 3, errors
    assert not server.gaps()
    assert Program.lost(errors) == 0


def test_a_server_that_goes_and_comes_back(program, tmp_path):
    """Away from the start, back, away again: the spool bridges it, in order and without a repetition that counts."""
    server = Server()
    port = server.port
    server.close()
    running = program(server.url, 3 * SCALE, 0.001)
    batches = {}
    for _ in range(max(1, round(SCALE))):
        time.sleep(0.8)
        server = Server(port)
        server.batches = batches
        time.sleep(0.8)
        server.close()
    produced, errors = running.end()
    server = Server(port)
    server.batches = batches
    deliver_the_spool(program, server, tmp_path)
    server.close()
    assert delivered(server) == (int(produced),) * 3, errors
    assert not server.gaps()
    assert Program.lost(errors) == 0


def test_a_spool_beyond_its_limit(program, tmp_path):
    """Away for good and the limit is small: what waits in memory is kept at the end, and arrives with the next run."""
    server = Server()
    port = server.port
    server.close()
    produced, errors = program(server.url, 2 * SCALE, 0, METERCAST_SPOOL_LIMIT_BYTES="60000").end()
    assert Program.lost(errors) == 0
    server = Server(port)
    deliver_the_spool(program, server, tmp_path)
    server.close()
    assert delivered(server) == (int(produced),) * 3, errors


def test_a_full_disk(program, tmp_path):
    """No file may grow beyond 700 bytes and the server is away: what the disk refuses is counted, to the unit."""
    server = Server()
    port = server.port
    server.close()

    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    running = program(server.url, 1.5 * SCALE, 0.002, METERCAST_BATCH_EVENTS="60", preexec=no_large_files)
    produced, errors = running.end()
    lost = Program.lost(errors)
    server = Server(port)
    deliver_the_spool(program, server, tmp_path)
    server.close()
    things, cents, runs = delivered(server)
    assert lost > 0
    assert (things + lost, cents + Program.lost(errors, "cents") / 7) == (int(produced), int(produced))
    assert runs + Program.lost(errors, "executions") - int(produced) in (0, 1)  # with the program's own run


FORKS = """
import multiprocessing, os, random, sys, threading
from metercast import custom, operation
def work(count):
    for _ in range(count):
        with operation("work"):
            custom("things", 1)
            custom("cents", 7)
    return count
def grow(depth, chance):
    work(5)
    for _ in range(2 if depth else 0):
        child = os.fork()
        if child == 0:
            grow(depth - 1, chance)
            if chance.random() < 0.5: os._exit(0)
            sys.exit(0)
    while True:
        try: os.wait()
        except ChildProcessError: return
if __name__ == "__main__":
    rounds = int(sys.argv[1])
    for number in range(rounds):
        busy = threading.Thread(target=work, args=(200,)); busy.start()
        if os.fork() == 0:
            grow(3, random.Random(number))
            os._exit(0)
        busy.join()
        os.wait()
    produced = rounds * (200 + 5 * 15)
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            produced += sum(pool.map(work, [7] * 8, chunksize=1))
            pool.close()
            pool.join()
    print(produced)
"""


def test_a_storm_of_forks_while_the_server_comes_and_goes(program, tmp_path):
    """Trees of forks amid threads, pools by every method, ends of every kind: nothing is lost or counted twice."""
    server = TroubledServer(seed=11, ends_s=3 * SCALE)
    produced, errors = program(server.url, max(1, round(2 * SCALE)), text=FORKS).end()
    server.calm_at_s = 0.0
    deliver_the_spool(program, server, tmp_path)
    server.close()
    assert delivered(server) == (int(produced),) * 3, errors
    assert not server.gaps()
    assert Program.lost(errors) == 0


@pytest.mark.parametrize("capacity", [65_536, 24])
def test_sigkill_at_any_moment(program, tmp_path, capacity):
    """Killed again and again: what was recorded is what arrived plus what the journal counts as lost, to the record.

    The compiled engine loses but the record at hand of each thread, unless its rings ran over.
    """
    server = Server()
    chance = random.Random(5)
    produced = 0
    kills = max(3, round(3 * SCALE))
    for _ in range(kills):
        (tmp_path / "produced").write_bytes(bytes(16))
        server.answers = chance.choices(["slow", 202, "accept and hang up", 500], k=20)
        running = program(server.url, text=KILLED, METERCAST_JOURNAL="1", METERCAST_RING_CAPACITY=str(capacity))
        wait_for(lambda: any((tmp_path / "produced").read_bytes()))
        time.sleep(chance.uniform(0.1, 0.6))
        running.process.kill()
        running.process.wait()
        produced += sum(struct.unpack("<2Q", (tmp_path / "produced").read_bytes()))
    journals = list((tmp_path / "spool").rglob("*.journal*"))
    recorded = {path.name.partition(".")[0]: struct.unpack_from("<Q", path.read_bytes())[0] for path in journals}
    server.answers.clear()
    program(server.url, text=EMPTY, METERCAST_TIMEOUT_S="20").end()
    deliver_the_spool(program, server, tmp_path)
    server.close()
    arrived, told = dict.fromkeys(recorded, 0), dict.fromkeys(recorded, 0)
    for (producer, epoch, _), rows in server.batches.items():
        name = f"{producer}-{epoch}"
        arrived[name] = arrived.get(name, 0) + records_of(rows)
        told[name] = told.get(name, 0) + told_as_lost(rows)
    found = {name: arrived[name] + told[name] for name in recorded}
    assert found == recorded  # with a journal an event is a record, or says of how many it is a total
    assert not server.gaps()
    things, cents, _ = delivered(server)
    lost = sum(told.values())
    assert produced > 100
    if program.engine == "compiled" and capacity == 65_536:
        assert lost <= 2 * kills
    assert 0 <= produced - min(things, cents) <= lost + 2
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


def records_of(rows):
    """How many records the rows of a batch stand for; the profiler's own are none."""
    count = 0
    for kind, source in zip(rows["micro_operation_type"].to_pylist(), rows["source"].to_pylist(), strict=True):
        if kind not in ("PROFILER_SELF", "UNATTRIBUTED"):
            number = source.partition(" aggregate of ")[2]
            count += int(number) if number else 1
    return count


def told_as_lost(rows):
    """Lost events that the rows of a batch tell of."""
    pairs = zip(rows["meter"].to_pylist(), rows["units"].to_pylist(), strict=True)
    return sum(units for meter, units in pairs if meter == "lost_events")


def wait_for(condition, limit_s=30.0):
    """Wait until something is so."""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
