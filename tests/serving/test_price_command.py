"""`metercast price` re-rates usage in a file under any plan, line by line."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from serving.commands.price import main
from tests.serving.conftest import PLANS, event

D = Decimal
START_S = 1_800_000_000


@pytest.fixture
def usage(tmp_path: Path) -> Path:
    """Ten seconds of two users in the wire form, with seats and moved bytes by region."""
    path = tmp_path / "usage.json"
    events = [
        event(user, "sync", kind, START_S + at, **{name: 2_000_000})
        for at in range(10)
        for user in ("acme", "globex")
        for kind, name in (("DISK_WRITE", "diskBytes"), ("NETWORK_SEND", "networkBytes"))
    ]
    for user, meter, units in (
        ("acme", "seat{id=a}", 1.0),
        ("acme", "seat{id=b}", 1.0),
        ("globex", "gb{region=eu}", 10.0),
    ):
        events.append(event(user, "sync", "CUSTOM", START_S + 3) | {"meter": meter, "units": units})
    path.write_text(json.dumps(events))
    return path


def test_lines_as_json_and_as_an_explanation(usage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps add up to the unrounded amount; the text names each line and the total."""
    arguments = ["--plan", str(PLANS / "micro-operations.yaml"), "--usage", str(usage)]
    assert main([*arguments, "--json"]) == 0
    invoices = json.loads(capsys.readouterr().out)["invoices"]
    assert [one["userID"] for one in invoices] == ["acme", "globex"]
    for line in invoices[0]["lines"]:
        assert sum(D(step["amount"]) for step in line["steps"]) == D(line["preciseAmount"])
    assert sum(D(line["amount"]) for line in invoices[0]["lines"]) == D(invoices[0]["total"])
    assert main([*arguments, "--explain", "--user", "acme"]) == 0
    assert f"Total: {invoices[0]['total']} USD" in capsys.readouterr().out


def test_seats_regions_and_agreed_prices(usage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Distinct seats at the customer's own price, with its discount; moved bytes at the region's price."""
    plan = PLANS / "examples" / "platform.yaml"
    arguments = ["--plan", str(plan), "--usage", str(usage), "--json"]
    assert main([*arguments, "--start", "2027-01-01T00:00:00Z", "--end", "2027-02-01T00:00:00Z"]) == 0
    acme, globex = json.loads(capsys.readouterr().out)["invoices"]
    amounts = [{line["id"]: D(line["amount"]) for line in one["lines"]} for one in (acme, globex)]
    assert amounts[0]["seats"] == D("15.00")
    assert amounts[0]["discount:first-year"] == D("-3.50")
    assert amounts[1]["moved"] == D("0.50")
    assert amounts[1]["minimum"] == D("4.50")
    assert sum(D(amount) for amount in acme["taxable"].values()) == D(acme["total"])


@pytest.mark.parametrize("more", [["--start", "yesterday"], ["--end", "2020-01-01"], ["--user", "nobody"]])
def test_misuse_is_told(usage: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error and exit code 2."""
    assert main(["--plan", str(PLANS / "per-request.yaml"), "--usage", str(usage), *more]) == 2
    assert capsys.readouterr().err.startswith("metercast price: ")
