"""Stores of money behave the same on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from serving.accounts.budgets import AlertRules, BudgetStore
from serving.accounts.customer_terms import CustomerTerms, Terms
from serving.accounts.quotes import QuoteDesk, QuoteError
from serving.demand.demand_prices import PriceStore
from serving.estimating.estimate_history import EstimateHistory
from serving.ledger.journal import Journal, Posting
from serving.plans.plan_catalogue import PlanCatalogue
from serving.plans.plan_files import parse_plan
from serving.pricing.factors.demand import DemandState, Price
from serving.pricing.modifiers.credit import Credit
from serving.pricing.usage import Period
from serving.storage.tables import Tables
from serving.webhooks.store import LEASE_NS, WebhookStore
from tests.postgresql import Server

D = Decimal
PERIOD = Period(1_800_000_000 * 10**9, 1_800_086_400 * 10**9)
PLAN = """
plan: {id: p, version: 1, currency: USD}
meters: {m: {value: cpuCycles}}
charges: [{id: c, meter: m, model: per_unit, unit_price: "1", modifiers: [load]}]
demand: {load: {signal: x, target: "1", elasticity: "1", floor: "0.5", cap: "2", half_life_s: 60, max_step: "0.1",
  interval_s: 60, lead_s: 60, stale_after_s: 60}}
"""


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """An empty database of either kind."""
    directory: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        return Tables(directory / "money.db")
    server: Server = request.getfixturevalue("postgresql_server")
    return Tables(server.database())


def test_the_journal(tables: Tables) -> None:
    """Entered once, balanced, undone as a whole."""
    journal = Journal(tables)
    pair = [Posting("unbilled:ada", "cpu", D("1.25"), "USD"), Posting("revenue:p", "cpu", D("-1.25"), "USD", {"a": 1})]
    assert journal.post("k", "usage", "ada", PERIOD, 1, pair)
    assert not journal.post("k", "usage", "ada", PERIOD, 1, pair)
    assert journal.balance("unbilled:ada", PERIOD) == {"cpu": D("1.25")}
    assert journal.entries("ada")[0].postings[1].detail == {"a": 1}

    def fail() -> None:
        with tables.transaction():
            journal.post("l", "usage", "ada", PERIOD, 1, pair)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(journal.entries()) == 1


def test_plans_prices_and_quotes(tables: Tables) -> None:
    """Published for good, looked up by instant, redeemed once."""
    catalogue, prices, desk = PlanCatalogue(tables), PriceStore(tables), QuoteDesk(tables, b"s" * 32)
    plan = parse_plan(PLAN)
    assert catalogue.publish(plan)
    assert not catalogue.publish(plan)
    assert PlanCatalogue(tables)["p"] == plan
    price = Price(10, 20, D("1.1"), "why")
    assert prices.publish("p", "load", DemandState(D("0.9"), D("1.1")), price, 5)
    assert not prices.publish("p", "load", DemandState(D("0.9"), D("1.5")), price, 6)
    assert prices.histories(plan, 0, 100)["load"].at(15) == D("1.1")
    quote, token = desk.issue("ada", ("p", 1), {"c": D("1.1")}, {"c": D(5)}, (0, 10**9))
    assert desk.redeem(token, 10).id == quote.id
    with pytest.raises(QuoteError, match="redeemed before"):
        desk.redeem(token, 11)
    assert desk.redeemed("ada", "p", 0, 100)[0].quantity == 5


def test_terms_budgets_and_estimates(tables: Tables) -> None:
    """Set, replaced, raised and cleared."""
    terms, budgets, history = CustomerTerms(tables), BudgetStore(tables), EstimateHistory(tables)
    terms.put("ada", Terms("p", D("1.5")))
    terms.put("ada", Terms(None, D("1.2")))
    assert terms.of("ada") == Terms(None, D("1.2"))
    terms.grant("ada", Credit("gift", D(5), 1, 10**18), "USD", 1)
    assert terms.granted("ada", "USD") == [Credit("gift", D(5), 1, 10**18)]
    rules = AlertRules((D("0.9"),), None, D("0.2"), True)
    budgets.put("ada", D(10), "USD")
    budgets.put("ada", D(20), "USD", rules)
    assert [(one.amount, one.rules) for one in budgets.every()] == [(D(20), rules)]
    marked = [budgets.mark("ada", "limit", 0, raised, 1) for raised in (True, True, False, False, True)]
    assert marked == [1, None, 1, None, 2], "whoever finds what was noted before has nothing to tell"
    assert budgets.raised("ada", 0) == {"limit": True}
    one = {"plan": {"id": "p", "version": 1}, "expected": "3", "quantiles": {"0.1": "1", "0.5": "3", "0.9": "5"}}
    history.keep({"user": "ada", "model": {"name": "m"}, "estimates": [one]}, PERIOD, PERIOD.start_ns + 10**9)
    assert history.settle(PERIOD.end_ns, lambda *_: D(4)) == 1
    assert [(row.median, row.bill) for row in history.scored("ada", "p")] == [(D(3), D(4))]


def test_webhooks(tables: Tables) -> None:
    """Published once for each hook that wants it, and recorded attempt by attempt."""
    store = WebhookStore(tables)
    hook = store.add("", "http://127.0.0.1:9/", ["budget.spent"])
    assert store.publish("e", "budget.spent", "ada", {}, 1)
    assert not store.publish("e", "budget.spent", "ada", {}, 1)
    (due,) = store.claim(2)
    assert store.claim(2) == [], "another server is not given what this one is sending"
    assert store.claim(2 + LEASE_NS) == [due], "what a killed server left is sent after a while"
    store.record(due, 2, 500, "down", "waiting", 10)
    assert store.claim(5) == []
    (again,) = store.claim(10)
    store.record(again, 10, 204, "", "delivered", 10)
    assert [one.status for one in store.deliveries(hook.id)] == [204, 500]
    assert store.remove(hook.id)
