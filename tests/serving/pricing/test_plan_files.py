"""Plan files are refused with file, line and remedy, and those we ship are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.plans.plan_files import PlanError, load_plan, load_plans, parse_plan
from serving.plans.plan_schema import json_schema

PLANS = Path(__file__).resolve().parents[3] / "configs" / "plans"
GOOD = """plan: {id: p, version: 1, currency: USD}
meters:
  disk: {value: diskBytes / 1e9}
charges:
  - {id: a, meter: disk, model: per_unit, unit_price: "0.1"}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("diskBytes / 1e9", "diskBites", 3, "unknown field 'diskBites'"),
        ("meter: disk", "meter: disc", 5, "unknown meter 'disc'; defined are disk"),
        ("per_unit", "per_byte", 5, "per_unit"),
        ('unit_price: "0.1"', "unit_price: 0.1", 5, "as a string"),
        ('unit_price: "0.1"', 'price: "0.1"', 5, "does not fit"),
        ("currency: USD", "currency: dollars", 1, "pattern"),
        ("version: 1", "version: 1, versoin: 2", 1, "versoin"),
        ('unit_price: "0.1"}', 'unit_price: "0.1"}\n  - {id: a, model: flat, price: "1"}', 6, "twice"),
        ("model: per_unit, unit_price", "model: flat, price", 5, "takes no meter"),
        ("value: diskBytes / 1e9", "value: units", 3, "of which meter"),
        (
            'per_unit, unit_price: "0.1"',
            'graduated, tiers: [{up_to: 5, unit_price: "1"}, {up_to: 4}, {up_to: null}]',
            5,
            "must rise",
        ),
    ],
)
def test_a_mistake_is_shown_where_it_is(old: str, new: str, line: int, message: str) -> None:
    """File and line first, then what is wrong."""
    with pytest.raises(PlanError) as caught:
        parse_plan(GOOD.replace(old, new), "shop.yaml")
    assert str(caught.value).startswith(f"shop.yaml:{line}: ")
    assert message in str(caught.value)


def test_our_own_plans_are_good() -> None:
    """Every plan in configs/plans loads under its file's name."""
    plans = load_plans(PLANS)
    assert {"micro-operations", "per-request"} <= set(plans)
    assert {path.stem for path in PLANS.glob("*.yaml")} == set(plans)


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    """A wrong path is an error about the path."""
    with pytest.raises(PlanError, match="nowhere"):
        load_plans(tmp_path / "nowhere")
    with pytest.raises(PlanError, match=r"gone\.yaml"):
        load_plan(tmp_path / "gone.yaml")


def test_an_id_is_used_once(tmp_path: Path) -> None:
    """Two plans of one id in a directory would make bills depend on file order."""
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    with pytest.raises(PlanError, match="defined twice"):
        load_plans(tmp_path)


def test_the_schema_for_editors_is_up_to_date() -> None:
    """What editors complete by is what the server checks by."""
    file = PLANS / "schema.json"
    assert file.read_text() == json_schema(), (
        "write it anew: python -m serving.plans.plan_schema > configs/plans/schema.json"
    )
