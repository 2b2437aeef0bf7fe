"""What is kept of webhooks: who is called for what, events, what waits to be sent, and every attempt."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.storage.tables import Tables
from serving.webhooks.addresses import check_address

EVENTS = (
    "budget.spent",
    "budget.projected",
    "budget.limit_reached",
    "budget.cleared",
    "invoice.issued",
    "invoice.corrected",
    "webhook.test",
)
LEASE_NS = 300 * 1_000_000_000
"""So long a server has for what it claimed; longer than it takes where every receiver is as slow as it may be."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, url TEXT NOT NULL, "
    "secret TEXT NOT NULL, events TEXT NOT NULL, created_ns BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS webhook_events (id TEXT PRIMARY KEY, kind TEXT NOT NULL, user_id TEXT NOT NULL, "
    "body TEXT NOT NULL, at_ns BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS webhook_queue (event_id TEXT NOT NULL, webhook_id TEXT NOT NULL, "
    "state TEXT NOT NULL, attempts BIGINT NOT NULL, next_ns BIGINT NOT NULL, PRIMARY KEY (event_id, webhook_id))",
    "CREATE TABLE IF NOT EXISTS webhook_deliveries (event_id TEXT NOT NULL, webhook_id TEXT NOT NULL, "
    "attempt BIGINT NOT NULL, at_ns BIGINT NOT NULL, status BIGINT NOT NULL, error TEXT NOT NULL, "
    "PRIMARY KEY (event_id, webhook_id, attempt))",
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A hook; ``user`` is whose events it gets, empty for those of all."""

    id: str
    user: str
    url: str
    secret: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """An event that waits to be sent to a hook, and how often that was tried."""

    webhook: Webhook
    event_id: str
    kind: str
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt: the HTTP status, 0 where there was no answer and ``error`` says why."""

    event_id: str
    kind: str
    webhook_id: str
    attempt: int
    at_ns: int
    status: int
    error: str


class WebhookStore:
    """The webhooks of one data directory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.create(*_TABLES)

    def add(self, user: str, url: str, events: Sequence[str]) -> Webhook:
        """A new hook with a new secret; raises ValueError for unknown events and AddressError for the address."""
        unknown = [kind for kind in events if kind not in EVENTS]
        if unknown or not events:
            raise ValueError(f"events {list(events)!r:.120}; some of {', '.join(EVENTS)}")
        check_address(url, inside_allowed=not user)
        hook = Webhook(secrets.token_hex(8), user, url, f"whsec_{secrets.token_urlsafe(32)}", tuple(events))
        self._tables.write(
            "INSERT INTO webhooks (id, user_id, url, secret, events, created_ns) VALUES (?, ?, ?, ?, ?, ?)",
            (hook.id, user, url, hook.secret, json.dumps(hook.events), time.time_ns()),
        )
        return hook

    def every(self, user: str | None = None) -> list[Webhook]:
        """All hooks, or those of a user."""
        mine = "" if user is None else " WHERE user_id = ?"
        query = f"SELECT id, user_id, url, secret, events FROM webhooks{mine} ORDER BY created_ns, id"  # noqa: S608
        rows = self._tables.rows(query, () if user is None else (user,))
        return [Webhook(row[0], row[1], row[2], row[3], tuple(json.loads(row[4]))) for row in rows]

    def remove(self, webhook_id: str) -> bool:
        """Take a hook away with what waits for it; False when there was none."""
        with self._tables.transaction():
            self._tables.write("DELETE FROM webhook_queue WHERE webhook_id = ?", (webhook_id,))
            return self._tables.write("DELETE FROM webhooks WHERE id = ?", (webhook_id,)) == 1

    def publish(self, event_id: str, kind: str, user: str, data: Mapping[str, Any], at_ns: int) -> bool:
        """Enter an event for every hook that wants it; False when an event of that id was entered before."""
        body = json.dumps({"id": event_id, "type": kind, "at_ns": at_ns, "user": user, "data": data}, sort_keys=True)
        with self._tables.transaction():
            made = self._tables.write(
                "INSERT INTO webhook_events (id, kind, user_id, body, at_ns) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (event_id, kind, user, body, at_ns),
            )
            if made != 1:
                return False
            for hook in self.every():
                if kind in hook.events and hook.user in ("", user):
                    self._tables.write(
                        "INSERT INTO webhook_queue (event_id, webhook_id, state, attempts, next_ns) "
                        "VALUES (?, ?, 'waiting', 0, ?)",
                        (event_id, hook.id, at_ns),
                    )
        return True

    def claim(self, now_ns: int, limit: int = 32) -> list[Due]:
        """What is to be sent now, the longest waiting first; until `LEASE_NS` later nobody else is given it.

        So each of several servers sends what no other does, and what a killed one left is sent after a while.
        """
        with self._tables.transaction():
            rows = self._tables.rows(
                "SELECT w.id, w.user_id, w.url, w.secret, w.events, e.id, e.kind, e.body, q.attempts "
                "FROM webhook_queue q JOIN webhooks w ON w.id = q.webhook_id "
                "JOIN webhook_events e ON e.id = q.event_id "
                "WHERE q.state = 'waiting' AND q.next_ns <= ? ORDER BY q.next_ns, e.id LIMIT ?",
                (now_ns, limit),
            )
            for row in rows:
                self._tables.write(
                    "UPDATE webhook_queue SET next_ns = ? WHERE event_id = ? AND webhook_id = ?",
                    (now_ns + LEASE_NS, row[5], row[0]),
                )
        return [
            Due(Webhook(row[0], row[1], row[2], row[3], tuple(json.loads(row[4]))), row[5], row[6], row[7], int(row[8]))
            for row in rows
        ]

    def release(self, due: Due, now_ns: int) -> None:
        """Give back what was claimed and not tried."""
        self._tables.write(
            "UPDATE webhook_queue SET next_ns = ? WHERE event_id = ? AND webhook_id = ?",
            (now_ns, due.event_id, due.webhook.id),
        )

    def record(self, due: Due, at_ns: int, status: int, error: str, state: str, next_ns: int) -> None:
        """Log an attempt, and what follows: ``waiting`` until ``next_ns``, ``delivered`` or ``failed``."""
        attempt = due.attempts + 1
        with self._tables.transaction():
            self._tables.write(
                "INSERT INTO webhook_deliveries (event_id, webhook_id, attempt, at_ns, status, error) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (due.event_id, due.webhook.id, attempt, at_ns, status, error),
            )
            self._tables.write(
                "UPDATE webhook_queue SET state = ?, attempts = ?, next_ns = ? WHERE event_id = ? AND webhook_id = ?",
                (state, attempt, next_ns, due.event_id, due.webhook.id),
            )

    def deliveries(self, webhook_id: str, limit: int = 100) -> list[Delivery]:
        """Attempts of a hook, the latest first."""
        rows = self._tables.rows(
            "SELECT d.event_id, e.kind, d.webhook_id, d.attempt, d.at_ns, d.status, d.error FROM webhook_deliveries d "
            "JOIN webhook_events e ON e.id = d.event_id WHERE d.webhook_id = ? "
            "ORDER BY d.at_ns DESC, d.attempt DESC LIMIT ?",
            (webhook_id, limit),
        )
        return [Delivery(row[0], row[1], row[2], int(row[3]), int(row[4]), int(row[5]), row[6]) for row in rows]
