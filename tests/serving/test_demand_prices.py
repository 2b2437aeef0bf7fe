"""Demand prices are measured, published ahead, and never set for a time that has passed."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.database import Location
from features.windows import SCHEMA
from serving.demand.demand_prices import PriceStore
from serving.demand.demand_publisher import DemandPublisher
from serving.demand.demand_signals import Signals
from serving.plans.plan_files import load_plans, parse_plan
from serving.pricing.plan import Plan
from serving.storage.tables import Tables

D = Decimal
SECOND = 1_000_000_000
EXAMPLES = Path(__file__).resolve().parents[2] / "configs" / "plans" / "examples"
START = 1_800_000_000 * SECOND // (300 * SECOND) * 300 * SECOND


class Load:
    """What the engine would have measured: CPU and requests a second over any span."""

    def __init__(self) -> None:
        self.cpu, self.requests, self.lag = 0, 0.0, 0

    def totals(self, _window_s: int, start_ns: int, end_ns: int, _user: str | None = None) -> pl.DataFrame:
        seconds = (end_ns - start_ns) // SECOND
        rows = {"meter": ["executions"], "units": [self.requests * seconds], "cpu_cycles": [self.cpu * seconds]}
        return pl.DataFrame(rows, schema={name: SCHEMA[name] for name in rows})


class Market:
    """A plan with one demand rule, its publisher, and a load to set."""

    def __init__(self, plan: Plan, location: Location) -> None:
        tables = Tables(location)
        self.plan, self.load = plan, Load()
        self.prices = PriceStore(tables)
        history: Any = self.load
        self.signals = Signals(tables, history, lambda: self.load.lag, (1, 10, 60))
        self.publisher = DemandPublisher({plan.id: plan}, self.prices, self.signals)

    def run(self, intervals: int, first: int = 0) -> list[Decimal]:
        """Publish interval by interval; the factors."""
        for index in range(first, first + intervals):
            self.publisher.tick(START + index * 300 * SECOND)
        return [one.price.factor for one in self.prices.latest(self.plan.id, "load", intervals)][::-1]


def _plan(signal: str, **more: str) -> Plan:
    rules = {
        "signal": signal,
        "target": '"0.7"',
        "elasticity": '"0.8"',
        "floor": '"0.8"',
        "cap": '"1.5"',
        "half_life_s": "900",
        "max_step": '"0.05"',
        "interval_s": "300",
        "lead_s": "300",
        "stale_after_s": "900",
    } | more
    return parse_plan(
        "plan: {id: p, version: 1, currency: USD}\nmeters: {m: {value: cpuCycles}}\n"
        'charges: [{id: c, meter: m, model: per_unit, unit_price: "1", modifiers: [load]}]\n'
        f"demand: {{load: {{{', '.join(f'{name}: {value}' for name, value in rules.items())}}}}}\n"
    )


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """Priced by requests over a capacity of 100 a second."""
    return Market(_plan("requests", capacity='"100"'), tmp_path / "prices.db")


def test_prices_follow_the_measured_load_in_small_steps(market: Market) -> None:
    """Up under load by no more than a step an interval, capped; down again when it is over."""
    market.load.requests = 180.0
    up = market.run(20)
    assert up == sorted(up)
    assert up[0] == D("1.05") or up[0] > 1
    assert up[-1] == D("1.5000")
    market.load.requests = 0.0
    down = market.run(40, first=20)
    assert down[-1] == D("0.8000")
    steps = [abs(after - before) for before, after in pairwise([D(1), *up, *down])]
    assert max(steps) <= D("0.05")


def test_a_price_is_published_before_it_is_in_force(market: Market) -> None:
    """By the lead; a second tick in the interval publishes nothing, and the history is gapless."""
    assert market.publisher.tick(START + 17 * SECOND) == 1
    assert market.publisher.tick(START + 200 * SECOND) == 0
    market.run(5, first=1)
    published = market.prices.latest("p", "load", 10)[::-1]
    for one, following in pairwise(published):
        assert one.price.until_ns == following.price.from_ns
        assert one.published_ns < one.price.from_ns
    assert "smoothed load" in published[0].price.reason


def test_what_was_missed_costs_the_list_price(market: Market) -> None:
    """After a pause nothing is set for the time that has passed, and the price has stepped back."""
    market.load.requests = 200.0
    market.run(10)
    high = market.prices.latest("p", "load")[0].price
    market.run(1, first=40)
    prices = market.prices.histories(market.plan, 0, 2**62)["load"]
    assert prices.at(high.from_ns) == high.factor > 1
    assert prices.at(high.until_ns + 600 * SECOND) == 1
    assert market.prices.latest("p", "load")[0].price.factor < high.factor


def test_posted_signals_grow_stale(tmp_path: Path) -> None:
    """The vendor's own signal counts until it is too old; then the price returns to the list price."""
    market = Market(_plan("spot"), tmp_path / "prices.db")
    market.signals.post("spot", START - SECOND, D("2.0"))
    seen = market.run(12)
    assert max(seen) > D("1.1")
    assert seen[-1] < max(seen)
    assert "stale" in market.prices.latest("p", "load")[0].price.reason
    for name, value in (("cpu", D(1)), ("spot", D(-1)), ("spot", D("NaN"))):
        with pytest.raises(ValueError, match=name):
            market.signals.post(name, START, value)


def test_the_system_signal_is_the_busiest_of_what_is_measured(tmp_path: Path) -> None:
    """Each over its own peak: twice the requests at half the CPU is a full load, and so is a full queue."""
    market = Market(load_plans(EXAMPLES)["time-of-use"], tmp_path / "prices.db")
    market.load.cpu, market.load.requests = 1_000_000, 10.0
    market.run(1)
    market.load.cpu = 500_000
    market.run(1, first=1)
    assert dict(market.signals.values("system", 0, 2**62))[START + 300 * SECOND] == 1.0
    market.load.requests, market.load.lag = 1.0, 1024
    market.run(1, first=2)
    assert dict(market.signals.values("system", 0, 2**62))[START + 600 * SECOND] == 2.0
