"""The client: one method for each thing that a server can be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from metercast.client.answers import Estimate, Table
from metercast.client.live import LiveEvent, live_events
from metercast.client.moments import Moment, moment_text
from metercast.client.money import Money
from metercast.client.transport import Transport


class Client(Money):
    """Questions to one server; usable from several threads."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", key: str = "", timeout_s: float = 30.0, ca_file: str = ""
    ) -> None:
        """``key`` (default: METERCAST_API_KEY) is needed where the server has keys; raises ValueError for a bad URL."""
        self._transport = Transport(url, key or os.environ.get("METERCAST_API_KEY", ""), timeout_s, ca_file)
        self.url = self._transport.url

    def get(self, path: str, **query: Any) -> Any:
        """The JSON document at a path; raises ProblemError and UnreachableError, as all methods do."""
        return self._transport.json("GET", path, query)

    def post(self, path: str, document: Any) -> Any:
        """POST a JSON document."""
        return self._transport.json("POST", path, body=document)

    def users(self) -> list[str]:
        """Everyone who ever used anything, as far as the key sees."""
        found: list[str] = self.get("/v1/users")["users"]
        return found

    def usage(
        self,
        user: str | None = None,
        operation: str | None = None,
        micro_operation_type: str | None = None,
        window_s: int | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """Windows of usage in time order, all pages of them; the default span is the last hour."""
        query = {
            "user": user,
            "operation": operation,
            "microOperationType": micro_operation_type,
            "window_s": window_s,
            "start": moment_text(start),
            "end": moment_text(end),
            "limit": 10_000,
        }
        return Table(self._pages("/v1/usage", "windows", query))

    def operations(self, user: str | None = None, start: Moment | None = None, end: Moment | None = None) -> Table:
        """Totals by operation and micro-operation."""
        return Table(
            self.get("/v1/operations", user=user, start=moment_text(start), end=moment_text(end))["operations"]
        )

    def spend(
        self, user: str, plan: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, Any]:
        """Spend of the period so far (default: this month), by operation and micro-operation."""
        found: dict[str, Any] = self.get(
            "/v1/spend", user=user, plan=plan, start=moment_text(start), end=moment_text(end)
        )
        return found

    def invoice(
        self, user: str, plan: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, Any]:
        """The invoice of a period, line by line."""
        found: dict[str, Any] = self.get(
            "/v1/invoices", user=user, plan=plan, start=moment_text(start), end=moment_text(end)
        )
        return found

    def estimate(
        self,
        user: str,
        plans: Sequence[str] = (),
        start: Moment | None = None,
        end: Moment | None = None,
        budget: Decimal | str | None = None,
    ) -> Estimate:
        """The predictive bill of a period (default: this month), under one plan or several."""
        body: dict[str, Any] = {"user": user, "plans": list(plans)}
        given = {"period_start": moment_text(start), "period_end": moment_text(end), "budget": budget}
        body |= {name: str(value) for name, value in given.items() if value is not None}
        return Estimate.of(self.post("/v1/estimates", body))

    def forecasts(self, user: str | None = None, horizon: int = 24, window_s: int | None = None) -> dict[str, Any]:
        """Quantiles of every series for the next windows."""
        found: dict[str, Any] = self.get("/v1/forecasts", user=user, horizon=horizon, window_s=window_s)
        return found

    def anomalies(
        self,
        user: str | None = None,
        operation: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """Anomalies, latest first, all pages of them."""
        query = {
            "user": user,
            "operation": operation,
            "start": moment_text(start),
            "end": moment_text(end),
            "limit": 1_000,
        }
        return Table(self._pages("/v1/anomalies", "anomalies", query))

    def feedback(self, anomaly_id: str, verdict: str) -> None:
        """Say what an anomaly was: useful, expected or wrong."""
        self.post(f"/v1/anomalies/{quote(anomaly_id, safe='')}/feedback", {"verdict": verdict})

    def plans(self) -> Table:
        """The price plans in force."""
        return Table(self.get("/v1/plans")["plans"])

    def champion(self) -> dict[str, Any] | None:
        """The model in force, or None while none has been promoted."""
        found: dict[str, Any] | None = self.get("/v1/models/champion")["champion"]
        return found

    def set_budget(self, user: str, amount: Decimal | str) -> dict[str, Any]:
        """Set or replace a user's budget."""
        body = {"amount": str(amount)}
        found: dict[str, Any] = self._transport.json("PUT", f"/v1/budgets/{quote(user, safe='')}", body=body)
        return found

    def live(self, user: str | None = None, last_event_id: int | None = None) -> Iterator[LiveEvent]:
        """Windows and anomalies as they come; goes on by itself where a broken connection stopped."""
        return live_events(self._transport, user, last_event_id)

    def _pages(self, path: str, name: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page[name]
            cursor = page.get("next")
            if cursor is None:
                return
