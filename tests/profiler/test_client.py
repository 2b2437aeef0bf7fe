"""The client against a real server on a socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import uvicorn
from metercast.client import Client, Estimate, ProblemError, UnreachableError
from metercast.client.live import parse

from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.conftest import PLANS, some_usage


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server with half a minute of usage of two users."""
    settings = Settings(data=tmp_path_factory.mktemp("data"), plans=PLANS, windows_s=(1, 10, 60), lateness_s=0.0)
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    client = Client(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    assert client.post("/v1/events", some_usage())["accepted"] == 240
    while not client.users():
        time.sleep(0.05)
    yield client
    server.should_exit = True
    thread.join(10)


def test_usage_is_whole_over_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of all pages come as one table that a notebook shows."""
    whole = client.usage()
    pages = list(client._pages("/v1/usage", "windows", {"limit": 7}))
    assert pages == list(whole)
    assert "<table>" in whole._repr_html_()


def test_estimate_is_exact_money(client: Client) -> None:
    """Amounts are Decimals, quantiles rise, the cheapest plan is named, and a notebook shows one row a plan."""
    now = datetime.now(UTC)
    found = client.estimate(
        "acme",
        ["micro-operations", "per-request"],
        start=now - timedelta(minutes=1),
        end=now + timedelta(minutes=2),
        budget="1.50",
    )
    assert isinstance(found, Estimate)
    assert isinstance(found.bills[0].median, Decimal)
    assert sorted(found.bills[0].quantiles.values()) == list(found.bills[0].quantiles.values())
    assert found.cheapest in {bill.plan for bill in found.bills}
    assert found.bills[0].probability_over_budget is not None
    assert found._repr_html_().count("<tr>") == 3


def test_spend_and_invoice_agree(client: Client) -> None:
    """What was spent is what the invoice says."""
    assert client.spend("acme")["spend"] == client.invoice("acme")["total"]


def test_refusals_are_exceptions_that_say_what_to_do(client: Client) -> None:
    """A problem document becomes an exception with its status and detail; no server is another one."""
    with pytest.raises(ProblemError, match="GET /v1/users lists") as caught:
        client.spend("nobody")
    assert caught.value.status == 404
    with pytest.raises(UnreachableError, match="metercast serve"):
        Client("http://127.0.0.1:9").users()
    with pytest.raises(ValueError, match="no URL"):
        Client("localhost:8000")


def test_live_events_arrive(client: Client) -> None:
    """A window that closes after the stream was opened is heard, with its place in the stream."""
    stop = threading.Event()

    def produce() -> None:
        while not stop.is_set():
            client.post("/v1/events", [one | {"timestamp": time.time()} for one in some_usage(("acme",), 1)])
            time.sleep(0.2)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    event = next(one for one in client.live("acme") if one.kind == "window")
    stop.set()
    thread.join()
    assert event.id is not None
    assert {row["operation_id"] for row in event.data["operations"]} <= {"checkout", "search"}


def test_stream_is_read_as_the_standard_says() -> None:
    """Comments, missing spaces, several data lines and carriage returns are all legal."""
    lines = [b": hi\n", b"event:window\r\n", b"id: 7\n", b'data: {"a":\n', b"data: 1}\n", b"\n", b"data: {}\n", b"\n"]
    window, other = list(parse(lines))
    assert (window.kind, window.id, window.data) == ("window", 7, {"a": 1})
    assert (other.kind, other.id) == ("message", None)


def test_money_can_be_asked_about(client: Client) -> None:
    """Terms, credits, prices, explanations, comparisons, the status of a budget: as the server says them."""
    client.set_customer("acme", maximum_factor="1.5")
    assert client.customer("acme")["maximum_factor"] == "1.5"
    assert client.grant_credit("acme", "welcome", "0.01")["credits"][0]["id"] == "welcome"
    assert client.prices()["charges"] == []
    bill = client.explain("acme")
    assert sum(Decimal(line["amount"]) for one in bill["slices"] for line in one["lines"]) == Decimal(bill["total"])
    assert client.counterfactuals("acme", "checkout")[0]["about"] == "not run at all"
    assert client.compare_plans("micro-operations", "per-request", user="acme")["compared"] == 1
    client.set_budget("acme", "100")
    assert client.budget_status("acme")["allowed"] is True
    assert client.service_levels("acme") == []
    with pytest.raises(ProblemError, match="no changing prices"):
        client.quote("acme")


def test_periods_are_closed_and_hooks_kept(client: Client) -> None:
    """An invoice of a minute that is over, made again the same; a hook with its secret told once."""
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    invoice = client.close_period("globex", end - timedelta(minutes=1), end)
    assert client.issued_invoice(invoice["number"]) == invoice
    assert client.reproduce_invoice(invoice["number"])["same"]
    assert client.correct_invoice(invoice["number"]) == []
    assert [one["number"] for one in client.issued_invoices("globex")] == [invoice["number"]]
    hook = client.add_webhook("http://127.0.0.1:9/", ["invoice.issued"])
    assert hook["secret"].startswith("whsec_")
    assert "secret" not in client.webhooks()[0]
    assert client.deliveries(hook["id"]) == []
    with pytest.raises(ProblemError, match="never changes"):
        client.publish_plan((PLANS / "per-request.yaml").read_text().replace("0.0012", "0.0013"))
