"""Sends what is due: one request an attempt, no redirects, later again after a failure."""

from __future__ import annotations

import http.client
import random
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from metercast.client.webhook import HEADER, sign

from serving.recurring import Recurring
from serving.webhooks.addresses import AddressError, check_address
from serving.webhooks.store import Due, WebhookStore

NANOSECONDS = 1_000_000_000
ATTEMPTS = 12
AT_ONCE = 8
"""So many requests at a time: a receiver that does not answer holds up few others."""
TIMEOUT_S = 10.0


class WebhookSender(Recurring):
    """A thread that sends; attempt n + 1 follows attempt n after ``first_wait_s`` x 3^(n - 1), up to a third longer."""

    def __init__(self, store: WebhookStore, first_wait_s: float = 5.0, every_s: float = 0.5) -> None:
        super().__init__("metercast-webhooks", every_s, "webhooks could not be sent")
        self._store, self._first_wait_s = store, first_wait_s

    def tick(self, now_ns: int) -> int:
        """Send everything that is due; returns how many attempts were made."""
        claimed = self._store.claim(now_ns)
        if claimed:
            with ThreadPoolExecutor(AT_ONCE, "metercast-webhook") as pool:
                list(pool.map(self._attempt, claimed))
        return len(claimed)

    def _attempt(self, due: Due) -> None:
        if self._stopping.is_set():  # given back at once, so that the next start need not wait for the lease
            self._store.release(due, time.time_ns())
            return
        at_ns = time.time_ns()
        status, error = send(due, at_ns)
        if 200 <= status < 300:
            self._store.record(due, at_ns, status, "", "delivered", at_ns)
            return
        if due.attempts + 1 >= ATTEMPTS:
            self._store.record(due, at_ns, status, error, "failed", at_ns)
            return
        wait_s = self._first_wait_s * 3**due.attempts * random.uniform(1.0, 4 / 3)
        self._store.record(due, at_ns, status, error, "waiting", at_ns + round(wait_s * NANOSECONDS))


def send(due: Due, at_ns: int) -> tuple[int, str]:
    """One request; the status, and what went wrong where it is not 2xx (status 0: no answer)."""
    body = due.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "metercast-webhooks",
        "Metercast-Event": due.event_id,
        HEADER: sign(due.webhook.secret, body, at_ns // NANOSECONDS),
    }
    parts = urlsplit(due.webhook.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: http.client.HTTPConnection | None = None
    try:
        check_address(due.webhook.url, inside_allowed=not due.webhook.user)
        host, port = str(parts.hostname), parts.port
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        said = answer.read(200).decode(errors="replace")
    except (OSError, http.client.HTTPException, AddressError) as error:
        return 0, f"{type(error).__name__}: {error}"[:200]
    finally:
        if connection is not None:
            connection.close()
    return answer.status, "" if 200 <= answer.status < 300 else said
