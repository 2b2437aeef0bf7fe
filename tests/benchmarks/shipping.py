"""The two forms of a batch: bytes and CPU of making them, and CPU of reading them into Arrow, as ratios in one run."""

from __future__ import annotations

import gzip
import json
import statistics
import time
from collections.abc import Callable

from metercast.event import BATCH_MEDIA_TYPE, COLUMNS_MEDIA_TYPE
from metercast.shipping.batch import encode
from metercast.shipping.columns import encode_columns

from serving.ingest.bodies import Limits, parse

ROWS, SERIES = 2_000, 15


def main() -> None:
    """Print one JSON document."""
    now_ns = time.time_ns()
    rows = [_row(now_ns, n) for n in range(ROWS)]
    json_body, columns_body = encode("bench", 1, 1, rows), encode_columns("bench", 1, 1, rows)
    plain_json = gzip.decompress(json_body)
    now_s, limits = time.time(), Limits()
    costs = {
        "json made": lambda: encode("bench", 1, 1, rows),
        "columns made": lambda: encode_columns("bench", 1, 1, rows),
        "columns made and packed": lambda: gzip.compress(encode_columns("bench", 1, 1, rows), 1),
        "json read": lambda: parse(plain_json, BATCH_MEDIA_TYPE, limits, now_s),
        "columns read": lambda: parse(columns_body, COLUMNS_MEDIA_TYPE, limits, now_s),
    }
    series: dict[str, list[float]] = {name: [] for name in costs}
    for _ in range(SERIES):
        for name, once in costs.items():
            series[name].append(_cpu_ns(once) / ROWS)
    ns = {name: statistics.median(values) for name, values in series.items()}
    print(
        json.dumps(
            {
                "ns_per_event": {name: round(value) for name, value in ns.items()},
                "bytes_per_event": {
                    "json": round(len(plain_json) / ROWS, 1),
                    "json packed": round(len(json_body) / ROWS, 1),
                    "columns": round(len(columns_body) / ROWS, 1),
                    "columns packed": round(len(gzip.compress(columns_body, 1)) / ROWS, 1),
                },
                "columns_against_json": {
                    "bytes": round(len(columns_body) / len(plain_json), 3),
                    "bytes_packed": round(len(gzip.compress(columns_body, 1)) / len(json_body), 3),
                    "cpu_made_and_packed": round(ns["columns made and packed"] / ns["json made"], 3),
                    "cpu_read": round(ns["columns read"] / ns["json read"], 3),
                },
            },
            indent=2,
        )
    )


def _row(now_ns: int, n: int) -> tuple[object, ...]:
    """A row as of a service with forty users and seven routes."""
    names = f"user-{n % 40}", f"GET /orders/{n % 7}", n % 9, "executions" if n % 4 == 0 else ""
    used = n * 3_001 % 900_000, 0, n * 17 % 2_000, n * 31 % 9_000, n % 977 / 7e3, float(n % 4 == 0)
    return now_ns + 7_919 * n, *names, *used, 2**40 + n // 3, 0, "thread-clock"


def _cpu_ns(once: Callable[[], object]) -> int:
    begun_ns = time.process_time_ns()
    once()
    return time.process_time_ns() - begun_ns


if __name__ == "__main__":
    main()
