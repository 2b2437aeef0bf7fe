"""What was charged and what was not add up to what the kernel counted for the process."""

import json
import threading
import time
from pathlib import Path

import pytest
from metercast import operation
from metercast.shipping.reconciling import CPU, Reconciliation

from tests.profiler.test_operations import burn

PROGRAM = """
import contextvars, json, os, threading, time
import metercast
from metercast import operation
shipping = next(thread.native_id for thread in threading.enumerate() if thread.name == "metercast")
def io(path):
    with open(path) as file: fields = dict(line.split(": ") for line in file.read().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])
def moved():
    whole, own = io("/proc/self/io"), io(f"/proc/self/task/{shipping}/io")
    return whole[0] - own[0], whole[1] - own[1]
metercast.flush(30)
begun_s, (read, written) = time.time(), moved()
with operation("work"):
    with open("in", "wb") as file: file.write(b"x" * 100_000)
    with open("in", "rb") as file: file.read()
    reader, writer = os.pipe()
    os.write(writer, b"p" * 4_321); os.read(reader, 5_000)
def outside():
    with open("out", "wb") as file: file.write(b"y" * 300_000)
    with open("in", "rb") as file: file.read(77_000)
    with open("in", "rb", buffering=0) as file: file.read(1_234)
thread = threading.Thread(target=outside)
contextvars.Context().run(thread.start)
thread.join()
metercast.flush(30)
ended_s, (read_now, written_now) = time.time(), moved()
print(json.dumps([begun_s, ended_s, read_now - read, written_now - written]))
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


def test_charged_and_unattributed_bytes_are_what_the_kernel_counted(metered):
    """Bytes of files and pipes, inside and outside of operations: with what nobody was charged for, to the byte."""
    if not Path("/proc/thread-self/io").exists():
        pytest.skip("this kernel does not count the bytes of system calls (/proc/thread-self/io)")
    run = metered(PROGRAM, METERCAST_INTERVAL_S="60")
    begun_s, ended_s, read, written = json.loads(run.output)
    events = [event for event in run.events if begun_s < event["timestamp"] <= ended_s]
    for way, meter, kernel in (("READ", "unattributed_read", read), ("WRITE", "unattributed_written", written)):
        usage = [event["resourceUsage"] for event in events if event["microOperationType"].endswith(way)]
        charged = sum(one["diskBytes"] + one["memoryBytes"] for one in usage)
        unattributed = sum(event["resourceUsage"]["diskBytes"] for event in events if event["meter"] == meter)
        assert charged + unattributed == kernel
    assert run.total("diskBytes", "work", "DISK_WRITE") == 100_000
    outside = [event for event in events if event["meter"] == "unattributed_written"]
    assert sum(event["resourceUsage"]["diskBytes"] for event in outside) == 300_000
