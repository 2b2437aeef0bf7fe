"""The journal is append-only double entry."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.ledger.journal import Journal, LedgerError, Posting
from serving.pricing.usage import Period
from serving.storage.tables import Tables

D = Decimal
PERIOD = Period(0, 100)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal in a new database."""
    return Journal(Tables(tmp_path / "money.db"))


def _pair(amount: str, line: str = "cpu") -> list[Posting]:
    return [Posting("unbilled:ada", line, D(amount), "USD"), Posting("revenue:p", line, -D(amount), "USD")]


def test_a_key_is_entered_once(journal: Journal) -> None:
    """Sending an entry again changes nothing, whatever it says."""
    assert journal.post("one", "usage", "ada", PERIOD, 1, _pair("5.00"))
    assert not journal.post("one", "usage", "ada", PERIOD, 2, _pair("7.00"))
    assert journal.balance("unbilled:ada") == {"cpu": D("5.00")}


@pytest.mark.parametrize(
    ("kind", "postings", "message"),
    [
        ("usage", _pair("5.00")[:1], "must balance"),
        ("usage", [], "must balance"),
        ("gift", _pair("5.00"), "kind 'gift'"),
        ("usage", [Posting("a", "", D(1), "USD"), Posting("b", "", D(-1), "EUR")], "must balance"),
    ],
)
def test_what_does_not_balance_is_not_entered(
    journal: Journal, kind: str, postings: list[Posting], message: str
) -> None:
    """Not even a part of it."""
    with pytest.raises(LedgerError, match=message):
        journal.post("key", kind, "ada", PERIOD, 1, postings)
    assert journal.entries() == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.decimals(-1000, 1000, places=2)), max_size=12))
def test_all_accounts_add_up_to_zero(tmp_path_factory: pytest.TempPathFactory, amounts: list[tuple[str, D]]) -> None:  # type: ignore[valid-type]
    """Whatever was entered, debits equal credits, and balances are the sums of what was entered."""
    journal = Journal(Tables(tmp_path_factory.mktemp("ledger") / "money.db"))
    for index, (line, amount) in enumerate(amounts):
        journal.post(str(index), "usage", "ada", PERIOD, index, _pair(str(amount), line))
    owed, earned = (sum(journal.balance(name).values(), D(0)) for name in ("unbilled:ada", "revenue:p"))
    assert owed == -earned == sum((amount for _, amount in amounts), D(0))
    assert [entry.id for entry in journal.entries()] == list(range(1, len(amounts) + 1))


def test_a_transaction_that_fails_leaves_nothing(journal: Journal) -> None:
    """One inside another is undone with it."""

    def fail() -> None:
        with journal.tables.transaction():
            journal.post("one", "usage", "ada", PERIOD, 1, _pair("5.00"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert journal.entries() == []
    assert journal.post("one", "usage", "ada", PERIOD, 1, _pair("5.00"))
