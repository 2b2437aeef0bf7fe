"""Cost of one recorded micro-operation, against an OpenTelemetry span and counter with the same fields, in one run.

Three processes (OpenTelemetry, the compiled and the Python engine) stay up and measure one series each in turn, so that
a slow moment of the machine falls on all alike; a figure is the median of its series, in CPU ns of the thread, less the
loop around it.

bare        `os.pread` of one byte, in a process without Metercast
inactive    the same call intercepted, outside of any operation, less the call with metering off
call        inside an operation, timed as by default: elapsed time, and the thread clock where that does not suffice
call exact  inside an operation, the thread clock read for every call
call coarse inside an operation, counted and not timed
record      the engine's part alone: one `after_call` with its clock reading, as a Python hook makes it
operation   an empty `with operation(...)`
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS, COUNT = 41, 1_500
ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("opentelemetry", "compiled", "python")
LESS = {"inactive": "off", "call": "off", "call exact": "off", "call coarse": "off"}
"""Figures that say what a call costs more, and the figure of the same process that is taken from them."""

Series = dict[str, float]


def main() -> None:
    """Print one JSON document; with an argument, be the worker of that name."""
    if len(sys.argv) == 2:
        work(sys.argv[1])
        return
    workers = {name: _start(name) for name in WORKERS}
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, worker in workers.items():
            for figure, cost_ns in _ask(worker).items():
                taken.setdefault(figure if name == "opentelemetry" else f"{name} {figure}", []).append(cost_ns)
    for worker in workers.values():
        worker.kill()
        worker.wait()
    cost = {name: statistics.median(values) for name, values in taken.items()}
    print(json.dumps(_table(cost), indent=2))


def _start(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, name]
    environment = os.environ | {"METERCAST_ENGINE": name if name != "opentelemetry" else "auto"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment, cwd=ROOT, **pipes)


def _ask(worker: subprocess.Popen[str]) -> Series:
    """One series of each of its figures; nothing of a worker whose library is not there."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        print("go", file=worker.stdin, flush=True)
    except BrokenPipeError:
        return {}
    line = worker.stdout.readline()
    return json.loads(line) if line else {}


def _table(cost: Series) -> dict[str, dict[str, float | None]]:
    span = cost.get("span")
    return {
        name: {"ns": round(value, 1), "times_cheaper_than_span": round(span / value, 1) if span and value > 0 else None}
        for name, value in cost.items()
    }


def work(name: str) -> None:
    """Answer each line of the input with one series of every figure, until the input ends."""
    figures = _opentelemetry() if name == "opentelemetry" else _metercast(name)
    empty = lambda: None  # noqa: E731 -- the loop's own cost
    for _ in sys.stdin:
        for once in figures.values():  # while the others worked this processor forgot: the first would pay for all
            _series(once)
        loop_ns = _series(empty)
        taken = {figure: _series(once) - loop_ns for figure, once in figures.items()}
        taken = {figure: cost - taken[LESS[figure]] if figure in LESS else cost for figure, cost in taken.items()}
        taken.pop("off", None)
        print(json.dumps(taken), flush=True)
    os._exit(0)


def _series(once: Callable[[], object]) -> float:
    """CPU ns of one call, over a series; what the figure needs around it is done by its `prepare`."""
    prepare, restore = getattr(once, "around", (None, None))
    if prepare is not None:
        prepare()
    started = time.thread_time_ns()
    for _ in range(COUNT):
        once()
    spent_ns = time.thread_time_ns() - started
    if restore is not None:
        restore()
    return spent_ns / COUNT


def _pread() -> Callable[[], object]:
    """A call that reads through its module, as programs do, so that a replaced function is the one called."""
    descriptor = os.open(__file__, os.O_RDONLY)
    return lambda: os.pread(descriptor, 1, 0)


def _metercast(name: str) -> dict[str, Callable[[], object]]:
    from metercast import operation, runtime
    from metercast.engine import CODE
    from metercast.runtime import engine

    if name == "compiled" and not type(engine).__module__.endswith("_engine"):
        sys.exit(0)
    os.environ["METERCAST_CPU_BUDGET"] = "1000"
    runtime.start()
    code, after, now_ns, plain = CODE["DISK_READ"], engine.after_call, time.perf_counter_ns, os.pread

    def switched(is_on: bool) -> Callable[[], object]:
        once, bare = _pread(), getattr(plain, "__wrapped__", plain)

        def begin() -> None:
            engine.is_on = is_on
            os.pread = plain if is_on else bare  # without the hook of Python, where there is one

        def end() -> None:
            engine.is_on, os.pread = True, plain

        once.around = (begin, end)
        return once

    def inside(clock: str, once: Callable[[], object]) -> Callable[[], object]:
        blocks = []

        def begin() -> None:
            engine.clock = clock
            blocks.append(operation("bench", user="bench").__enter__())

        def end() -> None:
            blocks.pop().__exit__(None, None, None)
            engine.clock = "adaptive"

        once.around = (begin, end)
        return once

    def empty_operation() -> None:
        with operation("bench"):
            pass

    return {
        "off": switched(False),
        "inactive": switched(True),
        "call": inside("adaptive", _pread()),
        "call exact": inside("exact", _pread()),
        "call coarse": inside("coarse", _pread()),
        "record": inside("adaptive", lambda: after(code, now_ns(), disk=4_096)),
        "record exact": inside("exact", lambda: after(code, now_ns(), disk=4_096)),
        "operation": empty_operation,
    }


def _opentelemetry() -> dict[str, Callable[[], object]]:
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    except ImportError:
        return {"bare": _pread()}

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")
    counter = MeterProvider(metric_readers=[InMemoryMetricReader()]).get_meter("bench").create_counter("disk_bytes")
    attributes = {"type": "DISK_READ", "operation": "bench", "user": "bench"}

    def span() -> None:
        with tracer.start_as_current_span("bench") as span:
            span.set_attribute("type", "DISK_READ")
            span.set_attribute("disk_bytes", 4_096)
            span.set_attribute("cpu_ns", time.thread_time_ns())
            span.set_attribute("user", "bench")

    return {"bare": _pread(), "span": span, "counter": lambda: counter.add(4_096, attributes)}


if __name__ == "__main__":
    main()
