"""Rounds of kills: servers, clients and the database server are ended amid requests and steps, and started again."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.postgresql import Server as DatabaseServer
from tests.serving.chaos import Client, Server

CLOCKS_OFF_S = (0.0, -200.0, 86_400.0)
_TOLD_S = 20.0


@dataclass(frozen=True, slots=True)
class Round:
    """Who is killed at once, by number; ``tears`` leaves half a frame in SQLite's journal."""

    servers: tuple[int, ...] = ()
    clients: tuple[int, ...] = ()
    tears: bool = False
    database: bool = False


FIRST = (Round(servers=(0,), clients=(0,)), Round(servers=(0,), clients=(1,), tears=True, database=True))
"""Between them these kill one of each kind."""


@dataclass
class KillRounds:
    """One server on a file, or two on a PostgreSQL server, and their clients; ``kills`` counts processes by kind."""

    directory: Path
    chance: random.Random
    database: DatabaseServer | None = None
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.url = self.database.database() if self.database else None
        self.servers = [Server(self.directory, self.url, number) for number in range(2 if self.database else 1)]
        self.clients = {name: Client(self.directory, name, float(int(time.time()))) for name in "abcd"}
        self._begun = self._told = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Servers and clients for the length of a block; at its end all are killed, which counts as nothing."""
        self._start(self.servers)
        for client in self.clients.values():
            client.start()
        try:
            yield
        finally:
            for process in (*self.servers, *self.clients.values()):
                process.kill()

    def run(self, kills: int, until: float) -> None:
        """Rounds until so many processes were killed, or ``until`` on the monotonic clock."""
        first = iter(FIRST)
        while self.kills.total() < kills and time.monotonic() < until:
            self._wait_for(self.chance.randint(1, 6))
            self._do(next(first, None) or self._drawn())
            self._tell(kills)

    def acknowledged(self) -> dict[str, int]:
        """Batches acknowledged, by client."""
        return {name: client.acknowledged() for name, client in self.clients.items()}

    def told(self) -> str:
        """What was killed and acknowledged so far, in one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        return f"{self.kills.total()} kills ({kinds}), {sum(self.acknowledged().values())} batches acknowledged"

    def _drawn(self) -> Round:
        servers = tuple(number for number in range(len(self.servers)) if self.chance.random() < 0.5)
        clients = tuple(number for number in range(len(self.clients)) if self.chance.random() < 0.5)
        return Round(servers, clients, self.chance.random() < 0.3, self.chance.random() < 0.04)

    def _do(self, one: Round) -> None:
        servers = [self.servers[number] for number in one.servers]
        clients = [list(self.clients.values())[number] for number in one.clients]
        kinds = ["API with engine" if self.database is None or server.leads() else "API" for server in servers]
        time.sleep(self.chance.random() * 0.03)
        for process in self.chance.sample([*servers, *clients], len(servers) + len(clients)):
            process.kill()
        self.kills.update([*kinds, *["client"] * len(clients)])
        if one.tears and servers and self.database is None:
            with (self.directory / "data" / "metercast.db-wal").open("ab") as journal:
                journal.write(self.chance.randbytes(self.chance.randint(1, 5_000)))
        if one.database and self.database is not None:
            self.database.restart(is_kill=True)
            self.kills.update(["database server"])
        for client in clients:
            client.start()
        self._start(servers)

    def _start(self, servers: Sequence[Server]) -> None:
        for server in servers:
            server.start(clock_off_s=self.chance.choice(CLOCKS_OFF_S))
        for server in servers:
            server.ready()

    def _wait_for(self, more: int) -> None:
        """Wait until a client has so many more batches acknowledged."""
        self.chance.choice(list(self.clients.values())).wait_for(more)

    def _tell(self, kills: int) -> None:
        """A line on standard error from time to time, which pytest shows with -s."""
        if time.monotonic() - self._told > _TOLD_S:
            self._told = time.monotonic()
            passed = (self._told - self._begun) / 60
            print(f"{passed:5.1f} min, of {kills}: {self.told()}", file=sys.stderr, flush=True)
