"""What a server can be asked about money: prices, quotes, bills and how they came about, plans, budgets, webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from metercast.client.answers import Table
from metercast.client.moments import Moment, moment_text
from metercast.client.transport import Transport

Amount = Decimal | str | int
"""An exact number."""
Document = dict[str, Any]


class Money:
    """The part of `metercast.client.Client` that is about money; methods raise ProblemError and UnreachableError."""

    _transport: Transport

    def prices(self, plan: str | None = None, history: int = 24) -> Document:
        """The factor on each charge now, what is published ahead, and the history with reasons."""
        return self._ask("GET", "/v1/prices/current", plan=plan, history=history)

    def post_signal(self, name: str, value: Amount) -> None:
        """Post the value of a signal that demand rules follow."""
        self._send("PUT", f"/v1/prices/signals/{quote(name, safe='')}", {"value": str(value)})

    def quote(
        self,
        user: str,
        plan: str | None = None,
        quantities: Mapping[str, Amount] | None = None,
        lifetime_s: int | None = None,
    ) -> Document:
        """Prices locked for a time and for quantities by charge; its ``token`` is what `redeem` takes."""
        body: Document = {"user": user, "plan": plan, "lifetime_s": lifetime_s}
        body["quantities"] = {charge: str(quantity) for charge, quantity in (quantities or {}).items()}
        return self._send("POST", "/v1/quotes", body)

    def redeem(self, token: str) -> Document:
        """Put a quote into force, once."""
        return self._send("POST", "/v1/quotes/redeem", {"token": token})

    def customer(self, user: str) -> Document:
        """The plan, the own maximum factor and the credits of a customer."""
        return self._ask("GET", f"/v1/customers/{quote(user, safe='')}")

    def set_customer(self, user: str, plan: str | None = None, maximum_factor: Amount | None = None) -> Document:
        """Set a customer's plan (the vendor) and highest factor."""
        factor = None if maximum_factor is None else str(maximum_factor)
        return self._send("PUT", f"/v1/customers/{quote(user, safe='')}", {"plan": plan, "maximum_factor": factor})

    def grant_credit(
        self, user: str, credit_id: str, amount: Amount, priority: int = 0, expires: Moment | None = None
    ) -> Document:
        """Grant a prepaid credit."""
        body = {"id": credit_id, "amount": str(amount), "priority": priority, "expires": moment_text(expires)}
        return self._send("POST", f"/v1/customers/{quote(user, safe='')}/credits", body)

    def close_period(self, user: str, start: Moment, end: Moment) -> Document:
        """Close a period: its numbered invoice."""
        body = {"user": user, "start": moment_text(start), "end": moment_text(end)}
        return self._send("POST", "/v1/invoices", body)

    def issued_invoices(self, user: str | None = None) -> Table:
        """Issued invoices without their lines."""
        return Table(self._ask("GET", "/v1/invoices/issued", user=user)["invoices"])

    def issued_invoice(self, number: str) -> Document:
        """One invoice as it was issued."""
        return self._ask("GET", f"/v1/invoices/issued/{quote(number, safe='')}")

    def reproduce_invoice(self, number: str) -> Document:
        """The invoice made again from the log, and whether it is the ``same``."""
        return self._ask("GET", f"/v1/invoices/issued/{quote(number, safe='')}/reproduction")

    def correct_invoice(self, number: str) -> Table:
        """Enter what late events change; the lines stand on the next invoice."""
        return Table(self._send("POST", f"/v1/invoices/issued/{quote(number, safe='')}/corrections", None)["lines"])

    def explain(
        self, user: str, plan: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> Document:
        """How each line of a bill came about, step by step, adding up exactly."""
        ends = {"start": moment_text(start), "end": moment_text(end)}
        return self._ask("GET", "/v1/explanations", user=user, plan=plan, **ends)

    def counterfactuals(
        self,
        user: str,
        operation: str = "",
        micro_operation_type: str = "",
        hour: int | None = None,
        other_plan: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """What the bill would have been without a part of the usage, with it at another hour, or on another plan."""
        query = {"user": user, "operation": operation, "microOperationType": micro_operation_type, "hour": hour}
        query |= {"other_plan": other_plan, "start": moment_text(start), "end": moment_text(end)}
        return Table(self._ask("GET", "/v1/counterfactuals", **query)["counterfactuals"])

    def service_levels(self, user: str, start: Moment | None = None, end: Moment | None = None) -> Table:
        """What was promised and measured, with the windows in which promises were broken."""
        ends = {"start": moment_text(start), "end": moment_text(end)}
        return Table(self._ask("GET", "/v1/service-levels", user=user, **ends)["levels"])

    def projected(
        self,
        user: str,
        horizon: str = "period",
        plan: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Table:
        """Projected estimates for the next ``hour`` or ``day``, or at the ``period``'s end, by micro-operation."""
        ends = {"period_start": moment_text(start), "period_end": moment_text(end)}
        return Table(
            self._ask("GET", "/v1/estimates/projected", user=user, horizon=horizon, plan=plan, **ends)["estimates"]
        )

    def compare_plans(
        self,
        before: str,
        after: str,
        user: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        guard_percent: Amount | None = None,
    ) -> Document:
        """Two plans on past usage: bills of every customer, revenue, spread, break-even of one customer."""
        guard = None if guard_percent is None else str(guard_percent)
        body = {"before": before, "after": after, "user": user, "guard_percent": guard}
        return self._send(
            "POST", "/v1/estimates/compare", body | {"start": moment_text(start), "end": moment_text(end)}
        )

    def backtest(self, user: str, plan: str | None = None, period_s: int = 86_400, periods: int = 3) -> Document:
        """Past estimates beside the bills that came."""
        body = {"user": user, "plan": plan, "period_s": period_s, "periods": periods}
        return self._send("POST", "/v1/estimates/backtest", body)

    def publish_plan(self, yaml: str, guard_percent: Amount | None = None) -> Document:
        """Publish a version of a plan, for good; refused where bills would rise by more than the guard."""
        guard = None if guard_percent is None else str(guard_percent)
        return self._send("POST", "/v1/plans", {"yaml": yaml, "guard_percent": guard})

    def budget_status(self, user: str) -> Document:
        """What the ledger says was spent of a budget, its alerts, and whether its limit lets the user go on."""
        return self._ask("GET", f"/v1/budgets/{quote(user, safe='')}/status")

    def webhooks(self) -> Table:
        """Who is told of budgets and invoices."""
        return Table(self._ask("GET", "/v1/webhooks")["webhooks"])

    def add_webhook(self, url: str, events: Sequence[str]) -> Document:
        """A new hook; its ``secret`` is told this once."""
        return self._send("POST", "/v1/webhooks", {"url": url, "events": list(events)})

    def deliveries(self, webhook_id: str) -> Table:
        """Every attempt to reach a hook, the latest first."""
        return Table(self._ask("GET", f"/v1/webhooks/{quote(webhook_id, safe='')}/deliveries")["deliveries"])

    def _ask(self, method: str, path: str, **query: Any) -> Document:
        found: Document = self._transport.json(method, path, query)
        return found

    def _send(self, method: str, path: str, body: Any) -> Document:
        found: Document = self._transport.json(method, path, body={} if body is None else body)
        return found
