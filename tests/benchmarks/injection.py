"""Injected faults in recorded usage: how much of their money is found within an hour, and how many pages are false.

Faults are injected from the fifteenth day on into three of the users of a recording (`recorded_usage`), a day apart.
They are written by what a series is (the dearest operation of a user, the dearest of its micro-operations, the
network), so that they fit any recording. Money injected at a time is found when a page told of the fault no later than
an hour after it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.alerts.anomaly import EVERYONE, WHOLE, Anomaly
from serving.alerts.hook import DetectionHook
from serving.alerts.store import parse
from serving.engine.series_index import SeriesIndex
from tests.benchmarks.recorded_usage import DAY, WINDOW_S, Recording, Usage, of_demo, of_traces

ROOT = Path(__file__).resolve().parents[2]
HISTORY = 14 * DAY
HOUR = 12
AFFECTED = 3


@dataclass(frozen=True)
class Roles:
    """What a fault concerns: a user, their dearest operation, and its micro-operations by spend and by kind."""

    user: int
    operation: int
    dearest: Sequence[str]
    network: Sequence[str]
    processor: Sequence[str]


@dataclass(frozen=True)
class Fault:
    """What is injected: how long it lasts, and what it does to the usage of one user in those windows."""

    name: str
    windows: int
    change: Callable[[Usage, Roles, slice], None]
    dearer: float = 1.0
    is_of_operation: bool = False


def scaled(factor: float, role: Callable[[Roles], Sequence[str]]) -> Callable[[Usage, Roles, slice], None]:
    """A change that multiplies what some micro-operations of the operation use."""

    def change(usage: Usage, roles: Roles, span: slice) -> None:
        for name in role(roles):
            usage[name][span, roles.user, roles.operation] *= factor

    return change


def leak(usage: Usage, roles: Roles, span: slice) -> None:
    """The dearest micro-operation of one operation grows by 5 % a day."""
    growth = 1.05 ** (np.arange(span.stop - span.start) / DAY)
    usage[roles.dearest[0]][span, roles.user, roles.operation] *= growth


def batch(usage: Usage, roles: Roles, span: slice) -> None:
    """Four times the runs of every operation."""
    for values in usage.values():
        values[span, roles.user] *= 4


def deploy(usage: Usage, roles: Roles, span: slice) -> None:
    """The dearest micro-operation doubles, the next halves."""
    usage[roles.dearest[0]][span, roles.user, roles.operation] *= 2
    usage[roles.dearest[1]][span, roles.user, roles.operation] /= 2


def nothing(_usage: Usage, _roles: Roles, _span: slice) -> None:
    """Prices rise, or the user has no usage before: see `injected`."""


FAULTS = (
    Fault("leak, +5 % a day", 13 * DAY, leak, is_of_operation=True),
    Fault("retry storm", 3 * HOUR, scaled(4, lambda roles: roles.network), is_of_operation=True),
    Fault("infinite loop", 6 * HOUR, scaled(10, lambda roles: roles.processor), is_of_operation=True),
    Fault("price change, dearest +50 %", 2 * DAY, nothing, dearer=1.5),
    Fault("new user", 2 * DAY, nothing),
    Fault("end-of-month batch", 8 * HOUR, batch),
    Fault("deploy: one doubles, one halves", 2 * DAY, deploy, is_of_operation=True),
)


@dataclass(frozen=True)
class Injected:
    """Usage with a fault in it: the money of it (windows, users), who had it when, and the prices it came with."""

    usage: Usage
    money: np.ndarray
    spans: list[tuple[Roles, slice]]
    prices: Mapping[str, float] | None


def roles_of(recording: Recording, user: int) -> Roles:
    """By what the user spent before the faults."""
    spent = recording.spend(recording.usage)[:, :HISTORY, user].sum(axis=1)
    operation = int(spent.sum(axis=0).argmax())
    names = tuple(recording.micros)
    dearest = [names[at] for at in np.argsort(-spent[:, operation], kind="stable").tolist()]
    network = [name for name in names if name.startswith("NETWORK")]
    return Roles(user, operation, dearest, network, ("CPU_INSTRUCTION",))


def injected(recording: Recording, fault: Fault) -> Injected:
    """The usage with a fault in three users."""
    usage = {name: values.copy() for name, values in recording.usage.items()}
    whole = recording.spend(recording.usage).sum(axis=(1, 2, 3))
    resource = list(recording.micros.values())[int(whole.argmax())]
    prices = {resource: fault.dearer} if fault.dearer != 1 else None
    spans = []
    affected = np.linspace(0, len(recording.users) - 1, AFFECTED).round().astype(int).tolist()
    for place, user in enumerate(affected):
        # Prices change for all at once, with the plan that the server starts with.
        start = HISTORY if prices else HISTORY + place * DAY + 7 * HOUR
        span = slice(start, min(start + fault.windows, len(usage["runs"])))
        roles = roles_of(recording, user)
        spans.append((roles, span))
        if fault.name == "new user":
            for values in usage.values():
                values[:start, user] = 0.0
        fault.change(usage, roles, span)
    more = recording.spend(usage, prices)
    if fault.name != "new user":
        more = np.maximum(more - recording.spend(recording.usage), 0.0)
    money = np.zeros(usage["runs"].shape[:2])
    for roles, span in spans:
        money[span, roles.user] = more[:, span, roles.user].sum(axis=(0, 2))
    return Injected(usage, money, spans, prices)


def watched(
    recording: Recording,
    usage: Usage,
    windows: tuple[int, int],
    past: sqlite3.Connection | None = None,
    prices: Mapping[str, float] | None = None,
) -> sqlite3.Connection:
    """Run the hook over windows, going on where ``past`` stopped as after a restart; returns its database."""
    connection = sqlite3.connect(":memory:")
    if past is not None:
        past.backup(connection)
    hook = DetectionHook(WINDOW_S, price=recording.dearer(prices))
    index = SeriesIndex()
    for frame in recording.frames(usage, *windows):
        rows, index = index.numbered(frame)
        hook.closed(WINDOW_S, rows, index.names, connection)
        hook.write(connection)
    connection.commit()  # a copy waits for whoever writes
    return connection


def pages(connection: sqlite3.Connection) -> list[Anomaly]:
    """Episodes that somebody was told of, by the time of it."""
    rows = connection.execute("SELECT document, verdict FROM anomalies").fetchall()
    found = [parse(*row) for row in rows]
    return sorted((one for one in found if one.paged_ns is not None), key=lambda one: one.paged_ns or 0)


def share_found(
    recording: Recording, fault: Fault, what: Injected, connection: sqlite3.Connection
) -> tuple[float, list[float]]:
    """Share of the injected money that a page told of within an hour, and after how many hours each user's came."""
    found, delays = 0.0, []
    for roles, span in what.spans:
        operation = recording.operations[roles.operation]
        mine = [
            (one.paged_ns or 0) // 1_000_000_000 // WINDOW_S
            for one in pages(connection)
            if one.user in (recording.users[roles.user], EVERYONE)
            and (not fault.is_of_operation or one.operation in (WHOLE, operation))
        ]
        told = min((at for at in mine if span.start < at <= span.stop + HOUR), default=None)
        delays.append(round((told - span.start) / HOUR, 2) if told is not None else float("inf"))
        if told is not None:
            found += what.money[max(span.start, told - HOUR) : span.stop, roles.user].sum()
    return found / what.money.sum(), delays


def judged(recording: Recording, name: str, args: argparse.Namespace) -> None:
    """Print the table of one recording."""
    past = watched(recording, recording.usage, (0, HISTORY))
    total = all_found = 0.0
    for fault in FAULTS:
        if not fault.name.startswith(args.fault or ""):
            continue
        what = injected(recording, fault)
        before = watched(recording, what.usage, (0, HISTORY)) if fault.name == "new user" else past
        stop = min(max(span.stop for _, span in what.spans) + HOUR, len(what.usage["runs"]))
        after = watched(recording, what.usage, (HISTORY, stop), before, what.prices)
        share, hours = share_found(recording, fault, what, after)
        money = float(what.money.sum())
        row = {"recording": name, "fault": fault.name, "injected": round(money, 2), "found": round(share, 3)}
        line = f"{name:8}{fault.name:34}{money:10.2f} USD{share:8.1%}   after {', '.join(map(str, hours))} h"
        print(json.dumps(row | {"hours": hours}) if args.json else line, flush=True)
        total, all_found = total + money, all_found + share * money
    end = len(recording.usage["runs"])
    whole = watched(recording, recording.usage, (HISTORY, end), past)
    told = [one for one in pages(whole) if (one.paged_ns or 0) >= 7 * 86_400_000_000_000]
    for one in told if args.pages else ():
        day = (one.paged_ns or 0) / 8.64e13
        print(f"  {one.user} {one.operation} {one.kind} day {day:.2f}: {one.cost} {one.reason}")
    rate = len(told) / ((end - 7 * DAY) / DAY / 7) / len(recording.users)
    found = all_found / total
    summary = {"recording": name, "found_of_all": round(found, 3), "false_pages_per_user_week": round(rate, 3)}
    line = f"{name:8}of all injected money found within an hour: {found:.1%}; {rate:.2f} false pages a user-week"
    print(json.dumps(summary) if args.json else line, flush=True)


def main() -> int:
    """Print the tables; 0 where the traces are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--recording", choices=("traces", "demo"), help="only one of the two")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the demo's shop is metered (%(default)s)")
    parser.add_argument("--fault", help="only faults whose name begins so")
    parser.add_argument("--pages", action="store_true", help="show the pages of the month without faults")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "traces"
    if not bench.is_dir():
        print(f"skipped: no traces in {bench}; set METERCAST_BENCH")
        return 0
    if args.recording != "demo":
        judged(of_traces(bench), "traces", args)
    if args.recording != "traces":
        with tempfile.TemporaryDirectory() as directory:
            recording = of_demo(bench, Path(directory), args.seconds)
        judged(recording, "demo", args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
