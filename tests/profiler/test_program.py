"""Whole programs under `metercast run`: threads, tasks, processes, and every way to end."""

import subprocess
import sys

from .conftest import environment, read_batches

BURN = """
import time
def burn(ms):
    end = time.thread_time_ns() + int(ms * 1e6)
    while time.thread_time_ns() < end:
        pass
"""


def test_interleaved_tasks_measure_their_own_load(metered):
    """Two tasks that alternate on one thread with loads of 3 to 1 measure 3 to 1."""
    run = metered(
        BURN
        + """
import asyncio
from metercast import operation
async def work(name, ms):
    with operation(name):
        for _ in range(20):
            burn(ms)
            await asyncio.sleep(0)
async def main():
    await asyncio.gather(work("heavy", 3), work("light", 1))
asyncio.run(main())
"""
    )
    ratio = run.total("cpuCycles", "heavy") / run.total("cpuCycles", "light")
    assert 2.7 < ratio < 3.3


def test_threads_and_pools_work_for_the_operation_that_uses_them(metered):
    """Thread, executor, run_in_executor and to_thread are charged to the operation that started the work."""
    run = metered(
        BURN
        + """
import asyncio, threading, json, sys
from concurrent.futures import ThreadPoolExecutor
from metercast import operation
pool = ThreadPoolExecutor(2)
spent = {}
def part(name):
    before = time.thread_time_ns()
    burn(20)
    spent[name] = spent.get(name, 0) + time.thread_time_ns() - before
with operation("thread"):
    thread = threading.Thread(target=part, args=("thread",)); thread.start(); thread.join()
with operation("pool"):
    list(pool.map(part, ["pool"] * 2))
async def main():
    with operation("loop"):
        await asyncio.get_running_loop().run_in_executor(pool, part, "loop")
        await asyncio.to_thread(part, "loop")
asyncio.run(main())
print(json.dumps(spent))
"""
    )
    hz = _hz(run)
    for name, milliseconds in (("thread", 20), ("pool", 40), ("loop", 40)):
        assert run.total("cpuCycles", name) >= milliseconds * hz / 1000 * 0.999, name
        assert run.total("cpuCycles", name) < (milliseconds + 15) * hz / 1000, name


def test_all_cpu_of_the_main_thread_is_charged(metered):
    """What operations and the program's root are charged is the main thread's CPU clock, to a fraction."""
    run = metered(
        BURN
        + """
from metercast import operation
start = time.thread_time_ns()
for _ in range(50):
    with operation("step"):
        burn(2)
        open(__file__).read()
print(time.thread_time_ns() - start)
"""
    )
    spent_cycles = int(run.output) / 1e9 * _hz(run)
    charged = run.total("cpuCycles")
    assert spent_cycles <= charged <= spent_cycles * 1.05 + 0.1 * _hz(run)


def test_forked_children_ship_for_themselves(metered):
    """A child made by fork has a producer of its own, repeats nothing of its parent's, and loses nothing."""
    run = metered(
        """
import os
from metercast import operation
with operation("before"):
    open("a", "wb").write(b"x" * 1000)
children = []
for n in range(4):
    child = os.fork()
    if child == 0:
        with operation("child"):
            open(f"c{n}", "wb").write(b"x" * 500)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
    )
    assert run.total("diskBytes", "before") == 1000
    assert run.total("diskBytes", "child") == 2000
    assert len({batch["producer"] for batch in run.batches}) == 5


def test_every_kind_of_process_works_for_the_operation_that_uses_it(metered):
    """Pools, executors and processes by fork, spawn and forkserver: CPU, bytes and amounts go to who asked for them."""
    run = metered(
        BURN
        + """
import multiprocessing, tempfile
from concurrent.futures import ProcessPoolExecutor
from metercast import custom, operation
tempfile.gettempdir()  # tries directories by writing to them
def job(n):
    custom("jobs", 1)
    open(f"j{n}", "wb").write(b"y" * 100)
    burn(20)
    return n
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with operation(f"{method} pool", user="ann"):
            with context.Pool(2) as pool:
                assert pool.map(job, range(4)) == [0, 1, 2, 3]
                assert sorted(pool.imap_unordered(job, range(2))) == [0, 1] and pool.apply(job, (9,)) == 9
                pool.close()
                pool.join()
        with operation(f"{method} executor"), ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(job, range(3))) == [0, 1, 2]
        with operation(f"{method} process"):
            process = context.Process(target=job, args=(1,))
            process.start()
            process.join()
"""
    )
    for method in ("fork", "spawn", "forkserver"):
        for kind, jobs in (("pool", 7), ("executor", 3), ("process", 1)):
            name = f"{method} {kind}"
            assert run.total("units", name, "CUSTOM") == jobs
            assert run.total("diskBytes", name, "DISK_WRITE") == 100 * jobs
            assert run.total("executionTimeMs", name, "CPU_INSTRUCTION") >= 20 * jobs * 0.99
            assert run.total("units", name, "CPU_INSTRUCTION") == 1
    assert run.total("units", "fork pool", "CUSTOM", user="ann") == 7


def test_a_program_that_starts_metering_itself_meters_its_processes(tmp_path):
    """`metercast.start` without any environment: children by spawn ship to the same place."""
    text = """
import metercast, multiprocessing
def job(): open("s", "wb").write(b"y" * 100)
if __name__ == "__main__":
    metercast.start(to="batches", user="zoe")
    with metercast.operation("work"):
        child = multiprocessing.get_context("spawn").Process(target=job)
        child.start()
        child.join()
"""
    (tmp_path / "p.py").write_text(text)
    subprocess.run([sys.executable, "p.py"], cwd=tmp_path, env=environment(), check=True, timeout=60)
    events = [event for batch in read_batches(tmp_path / "batches") for event in batch["events"]]
    written = [e for e in events if e["microOperationType"] == "DISK_WRITE" and e["operationID"] == "work"]
    assert sum(event["resourceUsage"]["diskBytes"] for event in written) == 100
    assert {event["userID"] for event in written} == {"zoe"}


def test_functions_named_on_the_command_line_are_operations(metered, tmp_path):
    """`--operation module:function` needs no change of the program, for functions, methods and static methods."""
    (tmp_path / "shopping.py").write_text(
        "def order(): return 1\nclass Cart:\n    def add(self): return 2\n    @staticmethod\n    def vat(): return 3\n"
    )
    names = ("shopping:order", "shopping:Cart.add", "shopping:Cart.vat")
    options = [word for name in names for word in ("--operation", name)]
    run = metered(
        "import shopping\nfor _ in range(2): print(shopping.order(), shopping.Cart().add(), shopping.Cart.vat())",
        options=options,
    )
    assert run.output == "1 2 3\n1 2 3\n"
    for name in ("order", "Cart.add", "Cart.vat"):
        assert run.total("units", name, "CPU_INSTRUCTION") == 2


def test_functions_that_are_not_there_are_told_and_the_program_goes_on(metered, tmp_path):
    """A misspelt function, a class, a module that is not imported: each is named with what would do."""
    (tmp_path / "shopping.py").write_text(
        "def order(): return 1\nclass Cart:\n    def add(self): return 2\nclass Basket(Cart): pass\n"
    )
    names = ("shopping:ordr", "shopping:Cart", "shopping:Basket.ad", "program:main", "shopping:Basket.add")
    options = [word for name in names for word in ("--operation", name)]
    run = metered("import shopping\nprint(shopping.order(), shopping.Basket().add())", options=options)
    assert run.output == "1 2\n"
    assert "shopping has no 'ordr'; it has order, Cart, Basket" in run.errors
    assert "Cart is no function but a class" in run.errors
    assert "Basket has no 'ad'; it has" in run.errors
    assert "the program did not import program" in run.errors
    assert run.total("units", "Basket.add", "CPU_INSTRUCTION") == 1


def test_sigterm_ships_what_was_recorded(metered):
    """A terminated program ends by the signal, after its last batch."""
    run = metered(
        """
import os, signal
from metercast import operation
with operation("work"):
    open("a", "wb").write(b"x" * 100)
    os.kill(os.getpid(), signal.SIGTERM)
""",
        code=-15,
    )
    assert run.total("diskBytes", "work") == 100


def test_a_killed_program_leaves_whole_batches_in_a_row(metered):
    """SIGKILL takes what was not shipped yet; what was shipped is complete, and numbered without a gap."""
    run = metered(
        """
import os, signal, time
from metercast import custom, operation
end = time.monotonic() + 1.0
while time.monotonic() < end:
    with operation("work"):
        custom("things", 1)
    time.sleep(0.0005)
os.kill(os.getpid(), signal.SIGKILL)
""",
        code=-9,
        METERCAST_INTERVAL_S="0.05",
    )
    numbers = sorted(batch["sequence"] for batch in run.batches)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 2
    assert run.total("units", "work", "CUSTOM") == run.total("units", "work", "CPU_INSTRUCTION")


def test_a_storm_of_forks_loses_nothing(metered):
    """Many children, some of children, each with its own batches: the sum is what was written."""
    run = metered(
        """
import os
from metercast import operation
def child(depth):
    with operation("leaf"):
        open(f"f{os.getpid()}", "wb").write(b"x" * 100)
    if depth and os.fork() == 0:
        child(depth - 1)
        os._exit(0)
    if depth:
        os.wait()
for _ in range(6):
    if os.fork() == 0:
        child(2)
        os._exit(0)
for _ in range(6):
    os.wait()
"""
    )
    assert run.total("diskBytes", "leaf") == 6 * 3 * 100
    assert run.total("units", "leaf", "CPU_INSTRUCTION") == 18


def test_exit_codes_and_arguments_are_the_programs_own(metered):
    """`metercast run` is transparent: argv, exit code and output."""
    run = metered("import sys; print(sys.argv[1:]); sys.exit(7)", "--user", "x", "-m", code=7)
    assert run.output == "['--user', 'x', '-m']\n"


def test_an_error_of_the_program_is_shown_and_billed(metered):
    """An uncaught exception prints its traceback, exits 1 and loses no events."""
    run = metered(
        "from metercast import operation\nwith operation('bad'):\n    open('a','wb').write(b'12345')\n    1/0", code=1
    )
    assert "ZeroDivisionError" in run.errors
    assert run.total("diskBytes", "bad") == 5


def test_the_kill_switch_leaves_the_program_alone(metered):
    """METERCAST_OFF runs the program unmetered."""
    run = metered("print(open.__module__)", METERCAST_OFF="1")
    assert run.output.strip() in ("io", "_io")
    assert not run.events


def test_overflow_keeps_totals_and_counts_drops(metered):
    """With a ring far too small every byte is still billed, as totals, and the drops are counted."""
    run = metered(
        """
from metercast import operation
for n in range(400):
    with operation("write"):
        with open("a", "wb", buffering=0) as file:
            file.write(b"x" * 10)
            file.write(b"x" * 10)
""",
        METERCAST_RING_CAPACITY="50",
        METERCAST_INTERVAL_S="5",
    )
    assert run.total("diskBytes", "write") == 8000
    assert run.total("units", "write", "CPU_INSTRUCTION") == 400
    dropped = sum(e["units"] for e in run.events if e["meter"] == "dropped_events")
    assert dropped > 0


def test_above_the_cpu_budget_totals_are_kept_and_the_change_is_told(metered):
    """The governor gives up detail, not amounts, and an event says when and why."""
    run = metered(
        """
import time
from metercast import custom, operation
started = time.monotonic()
runs = 0
while time.process_time() < 1.0 or time.monotonic() < started + 1.5:
    for _ in range(50):
        with operation("count"):
            custom("things", 5)
        runs += 1
print(runs)
""",
        METERCAST_CPU_BUDGET="0.0001",
        METERCAST_INTERVAL_S="0.1",
    )
    runs = int(run.output)
    assert run.total("units", "count", "CUSTOM") == 5 * runs
    assert run.total("units", "count", "CPU_INSTRUCTION") == runs
    changes = [event for event in run.events if event["meter"] == "detail_changes"]
    totals_from_s = min(change["timestamp"] for change in changes if change["source"].startswith("detail: totals"))
    counted = [event for event in run.events if event["operationID"] == "count"]
    single = [event["timestamp"] for event in counted if " aggregate of " not in event["source"]]
    assert max(single) <= totals_from_s + 0.005  # two clocks
    assert len(single) < len(counted)


def test_own_cost_is_reported(metered):
    """PROFILER_SELF says what metering cost, apart from what the program used."""
    run = metered("from metercast import operation\nfor _ in range(100):\n    with operation('x'): pass")
    assert run.total("cpuCycles", kind="PROFILER_SELF") > 0


def test_sequences_have_no_gaps(metered):
    """Batches of a producer are numbered 1, 2, 3 ...; a gap would mean loss."""
    run = metered(
        "from metercast import operation\nfor _ in range(900):\n    with operation('x'): open(__file__).read()",
        METERCAST_BATCH_EVENTS="100",
    )
    numbers = sorted(batch["sequence"] for batch in run.batches)
    assert numbers == list(range(1, len(numbers) + 1))


def _hz(run):
    """Cycles per second that the events were converted with."""
    part = next(e for e in run.events if e["microOperationType"] == "PROFILER_SELF" and e["resourceUsage"]["cpuCycles"])
    usage = part["resourceUsage"]
    return usage["cpuCycles"] / usage["executionTimeMs"] * 1000
