"""What was charged and what was not add up to what the kernel counted for the process."""

import json
import threading
import time

import pytest
from metercast import operation
from metercast.shipping.reconciling import CPU, Reconciliation

from tests.profiler.test_operations import burn

PROGRAM = """
import json, os, threading, time
import metercast
from metercast import operation
def io():
    fields = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
metercast.flush()
cpu, (read, written) = time.process_time_ns(), io()
with operation("work"):
    burn(0.15)
    with open("in", "wb") as file: file.write(b"x" * 100_000)
    data = open("in", "rb").read()
def outside():
    burn(0.1)
    open("out", "wb").write(b"y" * 300_000)
import contextvars
thread = threading.Thread(target=outside)
contextvars.Context().run(thread.start)
thread.join()
metercast.flush()
cpu, (read_now, written_now) = time.process_time_ns() - cpu, io()
print(json.dumps([cpu, read_now - read, written_now - written]))
"""


def test_charged_and_unattributed_cpu_are_the_process_clock(recorder):
    """What operations were charged and what nobody was charged for is what the kernel counted, to a millisecond."""
    engine = recorder.engine
    reconciliation = Reconciliation(engine)
    process_ns, own_ns = time.process_time_ns(), time.thread_time_ns()

    def work():
        with operation("inside"):
            burn(40)
        burn(25)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.pending()
    unattributed_ns = reconciliation.grown()[CPU]
    process_ns, own_ns = time.process_time_ns() - process_ns, time.thread_time_ns() - own_ns
    charged_ns = sum(part["cpu_ns"] for part in recorder.take()["inside"].values())
    assert charged_ns >= 120e6
    assert unattributed_ns >= 75e6
    assert charged_ns + unattributed_ns == pytest.approx(process_ns - own_ns, abs=3e6)
    assert CPU not in reconciliation.grown() or reconciliation.grown().get(CPU, 0) < 5e6


def test_bytes_that_no_operation_moved_are_unattributed(metered):
    """Writing outside of any operation is in no operation, and in the kernel's count."""
    run = metered(PROGRAM)
    _, _, written = json.loads(run.output)
    assert run.total("diskBytes", "work", "DISK_WRITE") == 100_000
    unattributed = sum(
        event["resourceUsage"]["diskBytes"] for event in run.events if event["meter"] == "unattributed_written"
    )
    assert unattributed >= 300_000
    assert written >= 400_000
