"""A published version never changes, and what is in force follows from effective dates."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving.plans.plan_catalogue import PlanCatalogue
from serving.plans.plan_files import PlanError, load_versions, parse_plan
from serving.pricing.plan import Plan
from serving.storage.tables import Tables

DAY_NS = 86_400 * 10**9


def _plan(version: int, price: str = "1", since: str = "1970-01-01", currency: str = "USD") -> Plan:
    return parse_plan(
        f"plan: {{id: p, version: {version}, currency: {currency}, effective_from: {since}T00:00:00Z}}\n"
        "meters: {m: {value: units, meter: m}}\n"
        f'charges: [{{id: c, meter: m, model: per_unit, unit_price: "{price}"}}]\n'
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> PlanCatalogue:
    """No plans yet."""
    return PlanCatalogue(Tables(tmp_path / "plans.db"))


def test_a_published_version_stays_as_it_is(catalogue: PlanCatalogue) -> None:
    """The same again is nothing new, other contents are refused with the version to take; comments do not count."""
    assert catalogue.publish(_plan(1))
    assert not catalogue.publish(parse_plan("# a comment\n" + _plan(1).text))
    with pytest.raises(PlanError, match="never changes; give yours version 2"):
        catalogue.publish(_plan(1, price="2"))
    assert catalogue.versions("p") == [_plan(1)]


def test_versions_outlive_their_files(catalogue: PlanCatalogue, tmp_path: Path) -> None:
    """What was published is there after a restart, though nobody has the file."""
    catalogue.publish(_plan(1))
    catalogue.publish(_plan(2, "2", "2026-01-01"))
    again = PlanCatalogue(Tables(tmp_path / "plans.db"))
    assert again.versions("p") == [_plan(1), _plan(2, "2", "2026-01-01")]
    assert again["p"].version == 2


def test_servers_know_what_another_published(catalogue: PlanCatalogue, tmp_path: Path) -> None:
    """What one server published is in force on the others soon, and cannot be published there with other prices."""
    other = PlanCatalogue(Tables(tmp_path / "plans.db"))
    catalogue.publish(_plan(1))
    with pytest.raises(PlanError, match="published"):
        other.publish(_plan(1, price="2"))
    catalogue.publish(_plan(2, "2", "2026-01-01"))
    end_s = time.monotonic() + 30
    while other["p"].version != 2 and time.monotonic() < end_s:
        time.sleep(0.05)
    assert other.versions("p") == catalogue.versions("p")


def test_what_is_in_force_follows_the_effective_date(catalogue: PlanCatalogue) -> None:
    """A version announced for later waits for its date."""
    catalogue.publish(_plan(1))
    catalogue.publish(_plan(2, "2", "1970-01-11"))
    assert [catalogue.in_force("p", day * DAY_NS).version for day in (0, 9, 10)] == [1, 1, 2]
    assert [plan.version for plan in catalogue.during("p", "ada", 12 * DAY_NS)] == [2]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (_plan(2, "2"), "no later than version 1"),
        (_plan(2, "2", "2026-01-01", "EUR"), "need another id"),
    ],
)
def test_versions_follow_one_another(catalogue: PlanCatalogue, plan: Plan, message: str) -> None:
    """In time, and in one currency."""
    catalogue.publish(_plan(1))
    with pytest.raises(PlanError, match=message):
        catalogue.publish(plan)


def test_versions_of_one_plan_lie_side_by_side(tmp_path: Path) -> None:
    """As files of one directory; two of one version or date are refused."""
    for name, plan in (("a", _plan(1)), ("b", _plan(2, "2", "2026-01-01"))):
        (tmp_path / f"{name}.yaml").write_text(plan.text)
    assert [plan.version for plan in load_versions(tmp_path)["p"]] == [1, 2]
    (tmp_path / "c.yaml").write_text(_plan(2, "3", "2026-02-01").text)
    with pytest.raises(PlanError, match="defined twice"):
        load_versions(tmp_path)
    (tmp_path / "c.yaml").write_text(_plan(3, "3", "2026-01-01").text)
    with pytest.raises(PlanError, match="at once"):
        load_versions(tmp_path)
