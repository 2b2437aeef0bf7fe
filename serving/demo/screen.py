"""What the demo shows while it works: progress, the latest window by operation, anomalies as they come."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from serving.demo.feed import LiveFeed


class Screen:
    """A live display on a terminal's error stream; plain lines elsewhere."""

    def __init__(self, is_quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=is_quiet)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self.console)
        self._live = Live(self._progress, console=self.console, refresh_per_second=4, transient=True)
        self._task: TaskID | None = None
        self._told: set[str] = set()

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def stage(self, what: str, total: float = 1.0) -> None:
        """A new stage of the job."""
        if self._task is not None:
            self._progress.update(self._task, completed=self._progress.tasks[-1].total)
        self._task = self._progress.add_task(what, total=total, note="")
        if not self.console.is_terminal:
            self.console.print(what)

    def advance(self, completed: float, note: str, feed: LiveFeed | None = None) -> None:
        """How far the stage is, and what the platform says now."""
        assert self._task is not None
        self._progress.update(self._task, completed=completed, note=note)
        if feed is not None:
            for anomaly in feed.anomalies.values():
                if anomaly["id"] not in self._told:
                    self._told.add(anomaly["id"])
                    self.console.print(f"anomaly since {anomaly['started'][11:19]}: {anomaly['reason']}")
            if feed.windows:
                self._live.update(Group(self._progress, _table(feed.windows[-1])))


def _table(window: dict[str, Any]) -> Table:
    engine = window["engine"]
    title = f"window of {window['start'][11:19]}, {engine['events_per_s']:.0f} events/s, lag {engine['lag']} batches"
    table = Table("operation", "runs", "events", "Mcycles", "network kB", "disk kB", title=title)
    for row in window["operations"]:
        table.add_row(
            row["operation_id"],
            f"{row['executions']:.0f}",
            f"{row['events']}",
            f"{row['cpu_cycles'] / 1e6:.1f}",
            f"{row['network_bytes'] / 1e3:.1f}",
            f"{row['disk_bytes'] / 1e3:.1f}",
        )
    return table
