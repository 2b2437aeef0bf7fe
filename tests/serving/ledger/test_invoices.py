"""Periods are closed from the log under numbers, made again bit by bit, and corrected by new lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from fastapi.testclient import TestClient
from metercast.event import BATCH_MEDIA_TYPE

from features.database import connect
from serving.accounts.commerce import Commerce
from serving.api.billed import period_of
from serving.ledger.invoices import InvoiceError, NumberedInvoice
from serving.storage.erasure import erase, remaining
from tests.serving.conftest import event

D = Decimal


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


class Shop:
    """Usage of two users in one minute of an hour ago, and what is asked about it."""

    def __init__(self, client: TestClient, feed: Any) -> None:
        self.client, self.feed = client, feed
        self.start_s = (int(time.time()) - 3600) // 60 * 60
        self.span = {"start": _iso(self.start_s), "end": _iso(self.start_s + 60)}
        self.use([("acme", 3.1), ("acme", 20.2), ("globex", 7.3)])

    def use(self, events: list[tuple[str, float]]) -> None:
        """Send CPU work at seconds of the minute."""
        self.feed(
            self.client,
            [
                event(user, "checkout", "CPU_INSTRUCTION", self.start_s + at_s, cpuCycles=40_000_000_000)
                for user, at_s in events
            ],
        )

    def close(self, user: str = "acme", **more: str) -> Any:
        """POST /v1/invoices."""
        return self.client.post("/v1/invoices", json={"user": user} | self.span | more)

    def spent(self, user: str) -> Decimal:
        """What the minute costs a user so far."""
        return D(self.client.get("/v1/spend", params={"user": user} | self.span).json()["spend"])

    def post(self, number: str, what: str) -> Any:
        """POST about one invoice."""
        return self.client.post(f"/v1/invoices/issued/{number}/{what}").json()


@pytest.fixture
def shop(client: TestClient, feed: Any) -> Shop:
    """Two customers with usage."""
    return Shop(client, feed)


def test_numbers_rise_and_invoices_stay(shop: Shop) -> None:
    """One number after the other, the total that spend says, and the same document for ever."""
    spent = shop.client.get("/v1/spend", params={"user": "acme"} | shop.span).json()["spend"]
    first, second = shop.close("acme"), shop.close("globex")
    assert first.status_code == second.status_code == 201, first.text
    assert [int(one.json()["number"].rpartition("-")[2]) for one in (first, second)] == [1, 2]
    assert first.json()["total"] == spent == first.json()["amount_due"]
    assert D(spent) > 0
    number = first.json()["number"]
    assert shop.client.get(f"/v1/invoices/issued/{number}").json() == first.json()
    listed = shop.client.get("/v1/invoices/issued").json()["invoices"]
    assert [one["digest"] for one in listed] == [first.json()["digest"], second.json()["digest"]]


def test_an_invoice_is_made_again_bit_by_bit(shop: Shop) -> None:
    """From the log, also after more events came in."""
    number = shop.close().json()["number"]
    shop.use([("acme", 30.0)])
    again = shop.client.get(f"/v1/invoices/issued/{number}/reproduction").json()
    assert again["same"], again


def test_a_period_is_closed_once_and_when_it_has_ended(shop: Shop) -> None:
    """Not twice, not in part, not before its end."""
    assert shop.close().status_code == 201
    assert shop.close().status_code == 409
    overlapping = shop.close(start=_iso(shop.start_s + 30), end=_iso(shop.start_s + 90))
    assert "INV-" in overlapping.json()["detail"]
    early = shop.close("globex", end=_iso(time.time() + 3600))
    assert (early.status_code, "has not ended" in early.json()["detail"]) == (409, True)


@pytest.fixture
def two_servers(shop: Shop) -> Iterator[tuple[Commerce, Commerce]]:
    """Two servers on the database of the shop."""
    platform = shop.client.app.state.platform  # type: ignore[attr-defined]
    second = Commerce(platform.settings, platform.log, platform.history, lambda: 0, b"secret", lambda *_: None)
    yield platform.commerce, second
    second.tables.close()


def _at_once(servers: tuple[Commerce, Commerce], ask: Callable[[Commerce, int], Any]) -> list[Any]:
    """What each of the servers answered, or raised, when both were asked at the same time."""
    ready = Barrier(2)

    def one(place: int) -> Any:
        ready.wait()
        try:
            return ask(servers[place], place)
        except InvoiceError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


def test_two_servers_bill_a_period_once(shop: Shop, two_servers: tuple[Commerce, Commerce]) -> None:
    """Both are asked to close the same period at once: one invoice, the other is told its number, books balance."""
    period = period_of(shop.span["start"], shop.span["end"])
    found = _at_once(two_servers, lambda server, _: server.close_period("acme", period))
    (issued,) = [one for one in found if isinstance(one, NumberedInvoice)]
    (refused,) = [one for one in found if isinstance(one, InvoiceError)]
    assert issued.number in str(refused)
    journal = two_servers[0].journal
    assert sum(journal.balance("receivable:acme").values()) == issued.total
    assert sum(journal.balance("unbilled:acme").values()) == 0
    shop.use([("acme", 40.0)])
    corrected = _at_once(two_servers, lambda server, _: server.correct(issued))
    assert sorted(map(len, corrected)) == [0, 2], "the late event is entered once: a reversal and a correction"


def test_two_servers_spend_a_credit_once(shop: Shop, two_servers: tuple[Commerce, Commerce]) -> None:
    """Two periods closed at once on two servers take together no more than the customer was granted."""
    shop.client.post("/v1/customers/acme/credits", json={"id": "gift", "amount": "30"})
    shop.use([("acme", -30.0)])
    starts = (shop.start_s - 60, shop.start_s)
    periods = [period_of(_iso(start_s), _iso(start_s + 60)) for start_s in starts]
    found = _at_once(two_servers, lambda server, place: server.close_period("acme", periods[place]))
    amounts = [
        line.get("amount")
        for one in found
        for cut in one.document["slices"]
        for line in cut["lines"]
        if line["kind"] == "credit"
    ]
    assert -sum(map(D, amounts)) == D(30)


def test_an_invoiced_period_accrues_no_more(shop: Shop) -> None:
    """Rating a closed period again leaves the ledger as it is: what is invoiced is not owed a second time."""
    platform = shop.client.app.state.platform  # type: ignore[attr-defined]
    period, accruals = period_of(shop.span["start"], shop.span["end"]), platform.commerce.accruals
    assert shop.close().status_code == 201
    accruals.bring_up("acme", "micro-operations", period, time.time_ns())
    assert accruals.balance("acme", period) == 0


def test_late_events_become_lines_of_the_next_invoice(shop: Shop) -> None:
    """The old line is reversed in full and entered anew; the next invoice has both; correcting twice adds nothing."""
    first = shop.close().json()
    shop.use([("acme", 40.0)])
    lines = shop.post(first["number"], "corrections")["lines"]
    assert shop.post(first["number"], "corrections")["lines"] == []
    old = next(line for one in first["slices"] for line in one["lines"] if line["id"] == "cpu")
    assert [D(line["amount"]) for line in lines] == [-D(old["amount"]), D(old["amount"]) * 3 / 2]
    shop.span = {"start": _iso(shop.start_s + 60), "end": _iso(shop.start_s + 120)}
    following = shop.close().json()
    assert following["corrections"] == lines
    assert D(following["amount_due"]) == D(following["total"]) + D(old["amount"]) / 2
    assert shop.client.get(f"/v1/invoices/issued/{following['number']}/reproduction").json()["same"]


def test_every_account_balances_and_nothing_differs(shop: Shop) -> None:
    """What was accrued is what was invoiced: the difference is 0, and unbilled is empty after closing."""
    platform = shop.client.app.state.platform  # type: ignore[attr-defined]
    commerce = platform.commerce
    period = period_of(shop.span["start"], shop.span["end"])
    accrued = commerce.accruals.bring_up("acme", "micro-operations", period, time.time_ns())
    assert commerce.accruals.balance("acme", period) == accrued
    invoice = shop.close().json()
    assert D(invoice["total"]) == accrued
    assert commerce.accruals.balance("acme", period) == 0
    assert sum(commerce.journal.balance("receivable:acme").values()) == accrued
    assert "metercast_ledger_difference 0" in shop.client.get("/metrics").text
    for entry in shop.client.get("/v1/ledger").json()["transactions"]:
        assert sum(D(one["amount"]) for one in entry["postings"]) == 0


def test_credits_pay_until_they_are_used_up(shop: Shop) -> None:
    """The first invoice uses what it needs, the next what is left, and none goes below zero."""
    put = shop.client.post("/v1/customers/acme/credits", json={"id": "gift", "amount": "30"})
    assert put.status_code == 201, put.text
    assert shop.client.post("/v1/customers/acme/credits", json={"id": "gift", "amount": "1"}).status_code == 409
    first = shop.close().json()
    assert first["total"] == "0.00"
    shop.span = {"start": _iso(shop.start_s - 60), "end": _iso(shop.start_s)}
    shop.use([("acme", -30.0)])
    second = shop.close().json()
    used = [
        line for one in (first, second) for cut in one["slices"] for line in cut["lines"] if line["kind"] == "credit"
    ]
    assert -sum(D(line["amount"]) for line in used) <= D(30)
    left = shop.client.get("/v1/customers/acme").json()["credits"]
    assert sum(D(one["left"]) for one in left) == D(30) + sum(D(line["amount"]) for line in used)
    assert shop.client.get(f"/v1/invoices/issued/{second['number']}/reproduction").json()["same"]


def test_bills_explain_themselves(shop: Shop) -> None:
    """Steps add up to the unrounded amount, rounding to the amount, parts to the amount; text says the same."""
    bill = shop.client.get("/v1/explanations", params={"user": "acme"} | shop.span).json()
    lines = [line for one in bill["slices"] for line in one["lines"]]
    for line in lines:
        assert sum(D(step["amount"]) for step in line["steps"]) == D(line["precise_amount"])
        assert D(line["precise_amount"]) + D(line["rounding"]) == D(line["amount"])
        assert sum(D(part["amount"]) for part in line["parts"]) == D(line["amount"])
    assert sum(D(line["amount"]) for line in lines) == D(bill["total"])
    query = next(part["usage"] for line in lines for part in line["parts"] if part["usage"])
    assert shop.client.get(query).json()["windows"], "the source events can be looked at"
    text = shop.client.get("/v1/explanations", params={"user": "acme"} | shop.span, headers={"Accept": "text/plain"})
    assert f"Total: {bill['total']} USD" in text.text
    assert all(line["id"] in text.text for line in lines)


def test_counterfactuals(shop: Shop) -> None:
    """Not run at all saves what it caused, another plan has its price; no hour differs without schedules."""
    params = {"user": "acme", "operation": "checkout", "hour": 3, "other_plan": "per-request"} | shop.span
    found = shop.client.get("/v1/counterfactuals", params=params).json()["counterfactuals"]
    assert [one["about"] for one in found] == ["not run at all", "at 03:00 UTC", "on plan per-request"]
    assert D(found[0]["difference"]) < 0
    assert D(found[1]["difference"]) == 0
    other = shop.client.get("/v1/spend", params={"user": "acme", "plan": "per-request"} | shop.span).json()
    assert found[2]["would_be"] == other["spend"]


def test_an_erased_customer_leaves_amounts_without_a_name(shop: Shop) -> None:
    """Journal and invoice keep their amounts and balance; nothing in the database says whose they were."""
    number = shop.close("acme").json()["number"]
    due = shop.client.get(f"/v1/invoices/issued/{number}").json()["amount_due"]
    shop.client.post("/v1/customers/acme/credits", json={"id": "gift", "amount": "30"})
    tables = shop.client.app.state.platform.commerce.tables  # type: ignore[attr-defined]
    database = shop.client.app.state.platform.settings.database  # type: ignore[attr-defined]
    connection = connect(database)
    removed = erase(connection, "acme")
    assert removed["invoices"] == 1
    assert removed["ledger_transactions"] >= 2
    assert not any(remaining(connection, "acme").values())
    connection.close()
    kept = shop.client.get(f"/v1/invoices/issued/{number}").json()
    assert (kept["amount_due"], kept["user"]) == (due, "erased")
    names = [row[0] for row in tables.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    money = [
        name for name in names if name.startswith(("ledger", "invoices", "prepaid", "customer", "estimates", "quotes"))
    ]
    assert not any("acme" in str(row) for name in money for row in tables.rows(f"SELECT * FROM {name}"))


def test_events_taken_back_are_credited_on_the_next_invoice(shop: Shop) -> None:
    """The issued invoice stays and is made again from the log; its correction is what the wrong events had cost."""
    wrong = {"producer": "test", "epoch": 1, "first_sequence": shop.feed.sequence + 1, "reason": "metered twice"}
    right = shop.spent("acme")
    shop.use([("acme", 30.5), ("globex", 31.5)])
    first = shop.close().json()
    assert D(first["total"]) > right
    assert shop.client.post("/v1/retractions", json=wrong | {"user": "acme", "dry_run": True}).json()["events"] == 1
    for events, before in ((1, 0), (0, 1)):
        answer = shop.client.post("/v1/retractions", json=wrong | {"user": "acme"}).json()
        assert (answer["events"], answer["events_retracted_before"]) == (events, before)
        assert answer["invoices_to_correct"] == ([first["number"]] if events else [])
    assert shop.client.get(f"/v1/invoices/issued/{first['number']}").json() == first
    assert shop.client.get(f"/v1/invoices/issued/{first['number']}/reproduction").json()["same"]
    lines = shop.post(first["number"], "corrections")["lines"]
    assert sum(D(line["amount"]) for line in lines) == right - D(first["total"])
    assert shop.post(first["number"], "corrections")["lines"] == []
    (told,) = shop.client.get("/v1/retractions").json()["retractions"]
    assert (told["producer"], told["sequence"], told["events"]) == ("test", wrong["first_sequence"], 1)
    acts = shop.client.get("/v1/audit").json()["acts"]
    assert any(act["act"] == "events.retract" and act["subject"] == "metered twice" for act in acts)


def test_what_is_taken_back_is_not_spent(shop: Shop) -> None:
    """Spend of an open period sinks to what remains; a sender cannot take back by itself."""
    before = shop.spent("globex")
    wrong = {"producer": "test", "first_sequence": shop.feed.sequence + 1, "reason": "a test"}
    shop.use([("globex", 30.5)])
    assert shop.spent("globex") > before
    assert shop.client.post("/v1/retractions", json=wrong).json()["events"] == 1
    worker = shop.client.app.state.platform.worker  # type: ignore[attr-defined]
    end = time.monotonic() + 30
    while worker.status()["lag"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert shop.spent("globex") == before
    body = {"producer": "retraction-1-test", "epoch": 1, "sequence": 1, "events": []}
    refused = shop.client.post("/v1/events", json=body, headers={"Content-Type": BATCH_MEDIA_TYPE})
    assert (refused.status_code, "begins no sender's name" in refused.json()["detail"]) == (400, True)
    assert shop.client.post("/v1/retractions", json={"reason": "none"}).status_code == 422
    assert shop.client.post("/v1/retractions", json={"user": "nobody", "reason": "none"}).status_code == 404
