"""Invoices, the ledger, and measured prices on PostgreSQL are what they are on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.plans.plan_files import load_plans
from tests.postgresql import Server
from tests.serving import test_demand_prices as prices
from tests.serving.ledger import test_invoices as invoices

Told = Callable[[invoices.Shop], None]


@pytest.fixture
def shop(settings: Any, feed: Any, postgresql_server: Server) -> Iterator[invoices.Shop]:
    """The two customers of the other tests, on a server of its own."""
    chosen = settings.model_copy(update={"database_url": postgresql_server.database()})
    with TestClient(create_app(chosen), raise_server_exceptions=False) as client:
        yield invoices.Shop(client, feed)


@pytest.mark.parametrize(
    "told",
    [
        invoices.test_numbers_rise_and_invoices_stay,
        invoices.test_an_invoice_is_made_again_bit_by_bit,
        invoices.test_late_events_become_lines_of_the_next_invoice,
        invoices.test_every_account_balances_and_nothing_differs,
        invoices.test_credits_pay_until_they_are_used_up,
    ],
)
def test_invoices(shop: invoices.Shop, told: Told) -> None:
    """Numbers, reproduction, corrections, balances and credits."""
    told(shop)


def test_prices_follow_the_same_measured_load(tmp_path: Path, postgresql_server: Server) -> None:
    """The same load on both gives the same signals and the same published factors."""
    plan = load_plans(prices.EXAMPLES)["time-of-use"]
    found = []
    for location in (tmp_path / "prices.db", postgresql_server.database()):
        market = prices.Market(plan, location)
        market.load.cpu, market.load.requests = 1_000_000, 10.0
        factors = market.run(3)
        market.load.requests, market.load.lag = 1.0, 1024
        factors = market.run(3, first=3)
        found.append((factors, market.signals.values("system", 0, 2**62)))
    assert found[0] == found[1]
    assert len(found[0][1]) == 6
