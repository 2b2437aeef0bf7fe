"""Cost of one recorded micro-operation, against an OpenTelemetry span with the same fields, in one run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

from metercast.engine import CODE, Engine

ROUNDS, COUNT = 15, 2_000


def engine_ns(reads_cpu: bool) -> float:
    """CPU nanoseconds of one intercepted call on the pure Python engine."""
    engine = Engine(capacity=10 * ROUNDS * COUNT)
    engine.reads_cpu = reads_cpu
    code = CODE["DISK_READ"]
    execution = engine.open("bench", "bench")
    token = engine.current.set(execution)

    def once() -> None:
        engine.after_call(code, time.perf_counter_ns(), disk=4_096)

    cost = _median_ns(once)
    engine.close(execution)
    engine.current.reset(token)
    return cost


def opentelemetry_ns() -> float | None:
    """CPU nanoseconds of one SDK span with the same fields; None where the SDK is not installed."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        return None
    tracer = TracerProvider().get_tracer("bench")

    def once() -> None:
        with tracer.start_as_current_span("bench") as span:
            span.set_attribute("type", "DISK_READ")
            span.set_attribute("disk_bytes", 4_096)
            span.set_attribute("cpu_ns", time.thread_time_ns())
            span.set_attribute("user", "bench")

    return _median_ns(once)


def _median_ns(once: Callable[[], None]) -> float:
    costs = []
    for _ in range(ROUNDS):
        started = time.thread_time_ns()
        for _ in range(COUNT):
            once()
        costs.append((time.thread_time_ns() - started) / COUNT)
    return statistics.median(costs)


def main() -> None:
    """Print one JSON document."""
    span = opentelemetry_ns()
    figures: dict[str, float | None] = {"opentelemetry_span_ns": span}
    for name, reads_cpu in (("python_wall_only", False), ("python_with_cpu", True)):
        cost = engine_ns(reads_cpu)
        figures[f"{name}_ns"] = round(cost, 1)
        figures[f"{name}_times_cheaper"] = round(span / cost, 1) if span else None
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
