"""The users' clicks: several customers send requests to the shop, each with a rhythm and taste of its own."""

from __future__ import annotations

import http.client
import json
import math
import random
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Customer:
    """How often a customer clicks (mean requests a second), how that swings, and what they like."""

    name: str
    rate_per_s: float
    swing: float
    period_s: float
    tastes: dict[str, float]


CUSTOMERS = (
    Customer("ada", 14.0, 0.5, 20.0, {"search": 5, "product": 4, "checkout": 3, "export": 0.5}),
    Customer("bo", 9.0, 0.7, 30.0, {"search": 2, "product": 6, "checkout": 1.5, "export": 0.3}),
    Customer("cleo", 5.0, 0.4, 15.0, {"search": 1, "product": 1, "checkout": 2, "export": 3}),
)


@dataclass(slots=True)
class Counts:
    """Requests answered and failed so far."""

    answered: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """One thread a customer; `stop` ends them."""

    def __init__(self, port: int, customers: tuple[Customer, ...] = CUSTOMERS, seed: int = 7) -> None:
        self.counts = Counts()
        self._port = port
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._click, args=(customer, random.Random(f"{seed}{customer.name}")), daemon=True)
            for customer in customers
        ]

    def start(self) -> None:
        """Begin to click."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the requests under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(10)

    def _click(self, customer: Customer, chance: random.Random) -> None:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stopping.is_set():
            phase = 2 * math.pi * (time.monotonic() - began) / customer.period_s
            rate = customer.rate_per_s * (1 + customer.swing * math.sin(phase))
            if self._stopping.wait(chance.expovariate(rate)):
                break
            try:
                method, path, body = _request(customer, chance)
                connection.request(method, path, body, {"X-Customer": customer.name})
                connection.getresponse().read()
                self._count(1, 0)
            except (OSError, http.client.HTTPException):
                connection.close()
                self._count(0, 1)
        connection.close()

    def _count(self, answered: int, failed: int) -> None:
        with self.counts.lock:
            self.counts.answered += answered
            self.counts.failed += failed


def _request(customer: Customer, chance: random.Random) -> tuple[str, str, str | None]:
    what = chance.choices(list(customer.tastes), list(customer.tastes.values()))[0]
    if what == "search":
        return "GET", f"/search?q={chance.choice(('lamp', 'chair', 'desk', 'rug'))}", None
    if what == "product":
        return "GET", f"/products/{chance.randrange(400)}", None
    if what == "export":
        return "GET", "/export", None
    basket = [chance.randrange(400) for _ in range(chance.randint(1, 6))]
    return "POST", "/checkout", json.dumps({"basket": basket})
