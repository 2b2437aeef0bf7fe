"""How calls are timed, and that the event loop's own behaviour stays as it was."""

import time

import pytest
from metercast import operation
from metercast.engine import CODE

from tests.profiler.test_operations import burn, total_cpu


@pytest.mark.parametrize("clock", ["exact", "adaptive", "coarse"])
def test_every_way_of_timing_charges_the_same_cpu(recorder, clock):
    """Calls and computing together are what the thread used; without timing, calls' time is the operation's own."""
    engine = recorder.engine
    engine.clock = clock
    before = time.thread_time_ns()
    with operation("job"):
        for _ in range(5):
            started_ns = time.perf_counter_ns()
            burn(1)
            engine.after_call(CODE["DISK_READ"], started_ns, disk=10)
            burn(1)
    spent = time.thread_time_ns() - before
    engine.clock = "adaptive"
    parts = recorder.take()["job"]
    assert spent - 1_000_000 <= total_cpu(parts) <= spent + 100_000
    assert parts["DISK_READ"]["disk"] == 50
    if clock == "coarse":
        assert parts["DISK_READ"]["cpu_ns"] == 0
    else:
        # on a busy machine the computing before a call can be taken for longer than it was, at the call's expense
        assert 1_000_000 <= parts["DISK_READ"]["cpu_ns"] < 0.8 * spent


def test_a_call_that_waits_is_not_charged_its_waiting(recorder):
    """Time off the processor inside a call is WAIT, whichever clock tells it."""
    with operation("job"):
        started_ns = time.perf_counter_ns()
        time.sleep(0.03)
        recorder.engine.after_call(CODE["NETWORK_RECEIVE"], started_ns, network=1)
    parts = recorder.take()["job"]
    assert total_cpu(parts) < 15_000_000
    assert parts["WAIT"]["duration_ns"] >= 25_000_000


def test_another_way_of_timing_is_refused(recorder):
    """The message names what is allowed."""
    with pytest.raises(ValueError, match="adaptive"):
        recorder.engine.clock = "fast"
    assert recorder.engine.clock == "adaptive"


def test_errors_of_callbacks_still_reach_the_loop(metered):
    """A failing callback is told to the loop's exception handler; interrupts and exits still end the loop."""
    run = metered(
        """
import asyncio
seen = []
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    loop.call_soon(divmod, 1, 0)
    await asyncio.sleep(0.01)
    loop.call_soon(exit, 3)
    await asyncio.sleep(1)
try:
    asyncio.run(main())
except SystemExit as end:
    print(end.code)
print(seen[0]["message"], type(seen[0]["exception"]).__name__, type(seen[0]["handle"]).__name__)
"""
    )
    code, told = run.output.splitlines()
    assert code == "3"
    assert told.startswith("Exception in callback divmod(1, 0)")
    assert told.endswith("ZeroDivisionError Handle")
