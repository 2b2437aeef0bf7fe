"""Chaos: whatever fails, what is produced is what is delivered plus what is counted as lost, never more, never fewer.

The short form runs with the tests; `make chaos-profiler` runs the same for longer (METERCAST_CHAOS_SCALE).
"""

from __future__ import annotations

import resource
import time

from ..platform_server import Server
from .conftest import SCALE, Program
from .platform_in_trouble import TroubledServer

EMPTY = "pass"


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
    end = time.monotonic() + 30 * SCALE
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
    assert delivered(server) == (int(produced),) * 3
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
    assert delivered(server) == (int(produced),) * 3
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
    assert delivered(server) == (int(produced),) * 3
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
    assert delivered(server) == (int(produced),) * 3


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
    assert delivered(server) == (int(produced),) * 3
    assert not server.gaps()
    assert Program.lost(errors) == 0
