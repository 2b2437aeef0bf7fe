"""Cost of one recorded micro-operation, against an OpenTelemetry span with the same fields, in one run.

Figures of each engine: `record` is its own part, one call of `after_call`; `call` is what a real call costs more,
`os.pread` of one byte under interception, inside an operation and outside of any ("idle"), against the same call bare.
Each process measures once in turn, and again, so that a slow moment of the machine falls on all alike.
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

ROUNDS, SERIES, COUNT = 7, 9, 3_000
ROOT = Path(__file__).resolve().parents[2]
PROCESSES = (
    ("span", "none"),
    ("bare", "none"),
    ("record", "python"),
    ("record", "compiled"),
    ("call", "python"),
    ("idle", "python"),
    ("call", "compiled"),
    ("idle", "compiled"),
    ("operation", "python"),
    ("operation", "compiled"),
)


def main() -> None:
    """Print one JSON document; with two arguments, the nanoseconds of one process."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])))
        return
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for what, engine in PROCESSES:
            cost = _in_a_process(what, engine)
            if cost is not None:
                taken.setdefault(what if engine == "none" else f"{engine} {what}", []).append(cost)
    cost = {name: min(values) for name, values in taken.items()}  # the round that was disturbed least
    for name in ("python call", "python idle", "compiled call", "compiled idle"):
        if name in cost:
            cost[name] = max(0.0, cost[name] - cost["bare"])
    span = cost.get("span")
    rows = {
        name: {"ns": round(value, 1), "times_cheaper_than_span": round(span / value, 1) if span and value else None}
        for name, value in cost.items()
    }
    print(json.dumps(rows, indent=2))


def _in_a_process(what: str, engine: str) -> float | None:
    environment = os.environ | {"METERCAST_ENGINE": engine if engine != "none" else "python"}
    command = [sys.executable, __file__, what, engine]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    return float(done.stdout) if done.returncode == 0 and done.stdout.strip() != "null" else None


def measure(what: str, engine_name: str) -> float | None:
    """CPU nanoseconds of one call in this process."""
    if what == "span":
        return _span()
    if what == "bare":
        return _median_ns(_pread())
    from metercast import operation, runtime

    if engine_name == "compiled" and not type(runtime.engine).__module__.endswith("_engine"):
        return None
    if what in ("call", "idle"):
        runtime.start()
        once = _pread()
        if what == "idle":
            return _median_ns(once)
        with operation("bench"):
            return _median_ns(once)
    if what == "operation":
        runtime.start()

        def once() -> None:
            with operation("bench"):
                pass

        return _median_ns(once)
    return _record()


def _record() -> float:
    from metercast.engine import CODE
    from metercast.runtime import engine

    engine.capacity = 10 * SERIES * COUNT
    engine.is_on = True
    code, after, now_ns = CODE["DISK_READ"], engine.after_call, time.perf_counter_ns
    engine.current.set(engine.open("bench", "bench"))
    return _median_ns(lambda: after(code, now_ns(), disk=4_096)) - _median_ns(now_ns)


def _pread() -> Callable[[], object]:
    """A call that reads through its module, as programs do, so that a replaced function is the one called."""
    descriptor = os.open(__file__, os.O_RDONLY)
    return lambda: os.pread(descriptor, 1, 0)


def _span() -> float | None:
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    except ImportError:
        return None

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")

    def once() -> None:
        with tracer.start_as_current_span("bench") as span:
            span.set_attribute("type", "DISK_READ")
            span.set_attribute("disk_bytes", 4_096)
            span.set_attribute("cpu_ns", time.thread_time_ns())
            span.set_attribute("user", "bench")

    return _median_ns(once)


def _median_ns(once: Callable[[], object]) -> float:
    costs = []
    for _ in range(SERIES):
        started = time.thread_time_ns()
        for _ in range(COUNT):
            once()
        costs.append((time.thread_time_ns() - started) / COUNT)
    return statistics.median(costs)


if __name__ == "__main__":
    main()
