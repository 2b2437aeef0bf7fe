"""CPU and waiting go to the operation that caused them, across threads, tasks and nesting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.profiler.run_program import run_program, runs, total

BURN = """
import time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
"""


def test_nested_operations_exclude_their_children(tmp_path: Path) -> None:
    """A parent's own CPU is what its children did not use."""
    events = run_program(
        tmp_path,
        BURN
        + """
from metercast import operation
with operation("outer"):
    burn(0.05)
    with operation("inner"):
        burn(0.15)
""",
    )
    outer = total(events, "outer", "CPU_INSTRUCTION", "executionTimeMs")
    inner = total(events, "inner", "CPU_INSTRUCTION", "executionTimeMs")
    assert outer == pytest.approx(50, rel=0.15)
    assert inner == pytest.approx(150, rel=0.1)
    ids = {event["operationID"]: (event["executionID"], event["parentExecutionID"]) for event in events}
    assert ids["inner"][1] == ids["outer"][0]


def test_all_cpu_of_the_process_is_charged(tmp_path: Path) -> None:
    """Micro-operations of all operations add up to the thread's own clock."""
    events = run_program(
        tmp_path,
        BURN
        + """
import json
from metercast import operation
start = time.thread_time_ns()
with operation("work"):
    for _ in range(20):
        burn(0.005)
        open("f.txt", "w").write("x" * 10_000)
spent = time.thread_time_ns() - start
json.dump(spent / 1e6, open("spent.json", "w"))
""",
    )
    spent_ms = float((tmp_path / "spent.json").read_text())
    kinds = ("CPU_INSTRUCTION", "DISK_WRITE", "DISK_READ")
    charged = sum(total(events, "work", kind, "cpuCycles") for kind in kinds)
    everything = sum(event["resourceUsage"]["cpuCycles"] for event in events if event["operationID"] == "work")
    assert charged == everything
    cycles_per_ms = charged / sum(total(events, "work", kind, "executionTimeMs") for kind in kinds)
    assert charged / cycles_per_ms == pytest.approx(spent_ms, rel=0.02)


def test_interleaved_tasks_of_three_to_one(tmp_path: Path) -> None:
    """Two asyncio tasks that take turns are charged for what each did."""
    events = run_program(
        tmp_path,
        BURN
        + """
import asyncio
from metercast import operation
async def work(name, seconds):
    with operation(name):
        for _ in range(40):
            burn(seconds)
            await asyncio.sleep(0)
async def main():
    await asyncio.gather(work("three", 0.003), work("one", 0.001))
asyncio.run(main())
""",
    )
    three, one = (total(events, name, "CPU_INSTRUCTION", "executionTimeMs") for name in ("three", "one"))
    assert three / one == pytest.approx(3.0, rel=0.12)


def test_threads_and_executors_work_for_who_started_them(tmp_path: Path) -> None:
    """CPU of threads, pools and `to_thread` belongs to the operation that asked for it."""
    events = run_program(
        tmp_path,
        BURN
        + """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from metercast import operation
pool = ThreadPoolExecutor(2)
with operation("thread"):
    t = threading.Thread(target=burn, args=(0.05,)); t.start(); t.join()
with operation("pool"):
    list(pool.map(burn, [0.05, 0.05]))
async def main():
    with operation("to_thread"):
        await asyncio.to_thread(burn, 0.05)
asyncio.run(main())
""",
    )
    found = [total(events, name, "CPU_INSTRUCTION", "executionTimeMs") for name in ("thread", "pool", "to_thread")]
    assert found == pytest.approx([50, 100, 50], rel=0.2)


def test_waiting_is_a_micro_operation_of_its_own(tmp_path: Path) -> None:
    """Sleep, locks and await are WAIT, not CPU."""
    events = run_program(
        tmp_path,
        """
import asyncio, time
from metercast import custom, operation
with operation("sleep"):
    started_s = time.perf_counter()
    time.sleep(0.1)
    custom("elapsed_ms", (time.perf_counter() - started_s) * 1e3)
async def main():
    with operation("await"):
        started_s = time.perf_counter()
        await asyncio.sleep(0.1)
        custom("elapsed_ms", (time.perf_counter() - started_s) * 1e3)
asyncio.run(main())
""",
    )
    for name in ("sleep", "await"):
        elapsed_ms = sum(
            event["units"] for event in events if event["operationID"] == name and event["meter"] == "elapsed_ms"
        )
        assert elapsed_ms >= 100
        assert total(events, name, "WAIT", "executionTimeMs") == pytest.approx(elapsed_ms, abs=10)
        assert total(events, name, "CPU_INSTRUCTION", "executionTimeMs") < 10


def test_every_run_is_counted_once(tmp_path: Path) -> None:
    """Exceptions, early returns, decorators and generators end a run as any other does."""
    events = run_program(
        tmp_path,
        """
import asyncio
from metercast import operation, set_user
@operation("function")
def function(fail):
    if fail:
        raise ValueError
@operation("coroutine")
async def coroutine():
    await asyncio.sleep(0)
@operation("generator")
def generator():
    yield from range(5)
@operation("async generator")
async def async_generator():
    for item in range(5):
        yield item
for fail in (0, 1, 0):
    try:
        function(fail)
    except ValueError:
        pass
assert list(generator()) == [0, 1, 2, 3, 4]
next(generator())
async def main():
    await asyncio.gather(coroutine(), coroutine())
    async for _ in async_generator():
        pass
asyncio.run(main())
with operation("who", user="zoe"):
    pass
""",
        "--user",
        "acme",
    )
    counted = {name: runs(events, name) for name in ("function", "coroutine", "generator", "async generator", "who")}
    assert counted == {"function": 3, "coroutine": 2, "generator": 2, "async generator": 1, "who": 1}
    assert {event["userID"] for event in events if event["operationID"] == "function"} == {"acme"}
    assert {event["userID"] for event in events if event["operationID"] == "who"} == {"zoe"}


def test_a_forked_child_ships_its_own_events(tmp_path: Path) -> None:
    """After a fork both processes' work arrives, under producers of their own."""
    events = run_program(
        tmp_path,
        """
import os, sys
from metercast import operation
with operation("before"):
    pass
pid = os.fork()
with operation("child" if pid == 0 else "parent"):
    open(f"{pid > 0}.txt", "wb", 0).write(b"x" * (100 if pid == 0 else 200))
if pid == 0:
    sys.exit(0)
os.waitpid(pid, 0)
""",
    )
    assert (runs(events, "before"), runs(events, "child"), runs(events, "parent")) == (1, 1, 1)
    assert total(events, "child", "DISK_WRITE", "diskBytes") == 100
    assert total(events, "parent", "DISK_WRITE", "diskBytes") == 200
