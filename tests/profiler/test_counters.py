"""Cycles by the processor's counter; and the same path with the clock that the kernel counts as an event everywhere."""

import json

import pytest
from metercast.runtime import make_engine

COUNTED = """
import asyncio, json, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import metercast
from metercast import operation
from metercast.runtime import engine
def burn(ms):
    end = time.thread_time_ns() + ms * 1_000_000
    while time.thread_time_ns() < end: pass
try:
    source = engine.count_cycles(sys.argv[1], False, 1_000_000_000)
except OSError as error:
    print(json.dumps({"problem": str(error)})); sys.exit()
def count(name, ms):
    before = time.thread_time_ns()
    with operation(name):
        burn(ms)
        for _ in range(20): os.pread(descriptor, 100_000, 0)
    spent[name] = spent.get(name, 0) + time.thread_time_ns() - before
async def task(name, ms):
    with operation(name):
        for _ in range(ms): burn(1); await asyncio.sleep(0)
async def tasks(): await asyncio.gather(task("three", 60), task("one", 20))
descriptor, spent = os.open(sys.executable, os.O_RDONLY), {}
count("here", 40)
with operation("parent"): count("child", 30)
thread = threading.Thread(target=count, args=("thread", 30)); thread.start(); thread.join()
asyncio.run(tasks())
if os.fork() == 0:
    with operation("forked"): burn(30)
    sys.exit()
os.wait()
print(json.dumps({"source": source, "spent": spent}))
"""


def counted(metered, event):
    """(the run, what it said) of a program whose cycles are counted by that event."""
    run = metered(COUNTED, event, METERCAST_NOMINAL_MHZ="1000")
    answer = json.loads(run.output)
    if "problem" in answer:
        pytest.skip(f"this machine counts no {event}: {answer['problem']}")
    return run, answer


@pytest.mark.parametrize("metered", ["compiled"], indirect=True)
def test_what_is_counted_is_shared_out_to_operations_and_calls(metered):
    """Threads, tasks, nested operations and forked children: each has the cycles that its own thread used for it."""
    run, answer = counted(metered, "task-clock")
    assert answer["source"] == "task-clock"
    for name, spent_ns in answer["spent"].items():
        cycles = run.total("cpuCycles", name)
        assert cycles == pytest.approx(spent_ns, rel=0.1, abs=3e6), name
        assert 0 < run.total("cpuCycles", name, "DISK_READ") < cycles
    assert run.total("cpuCycles", "parent") < 10e6
    assert run.total("cpuCycles", "three") == pytest.approx(3 * run.total("cpuCycles", "one"), rel=0.2)
    assert run.total("cpuCycles", "forked") == pytest.approx(30e6, rel=0.2)


@pytest.mark.parametrize("metered", ["compiled"], indirect=True)
def test_cycles_are_those_of_the_processor(metered):
    """Computing takes between 0.1 and 10 cycles a ns on any processor; and the source says what counted them."""
    run, answer = counted(metered, "cycles")
    assert answer["source"] in ("pmu", "pmu-user")
    for name, spent_ns in answer["spent"].items():
        assert 0.1 * spent_ns < run.total("cpuCycles", name) < 10 * spent_ns


def test_a_counter_that_was_shared_is_scaled():
    """With more events than counters each counts for a part of the time; the count is stretched to all of it."""
    scaled_count = compiled_module().scaled_count
    assert scaled_count(1_000, 500, 500) == 1_000
    assert scaled_count(1_000, 4_000, 1_000) == 4_000
    assert scaled_count(2**62, 3_000_000_000, 3_000_000_000) == 2**62
    assert scaled_count(10**18, 2_000_000_003, 2_000_000_001) == 10**18 * 2_000_000_003 // 2_000_000_001
    assert scaled_count(7, 100, 0) == -1  # it never had a counter


def test_what_cannot_be_counted_is_refused(recorder):
    """The Python engine counts no cycles, and nothing counts at 0 cycles a second."""
    with pytest.raises(OSError, match=r"."):
        recorder.engine.count_cycles("cycles", True, 0)
    assert recorder.engine.source == "thread-clock"


def compiled_module():
    """The compiled engine's module, or a skip."""
    try:
        make_engine("compiled")
    except ImportError as error:
        pytest.skip(f"the compiled engine was not built: {error}")
    import metercast._engine

    return metercast._engine
