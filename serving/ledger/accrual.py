"""Accrual: what is metered of an open period stands in the ledger as it grows, and limits are enforced on that."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from serving.accounts.billing import Biller, HistoryReader
from serving.accounts.customer_terms import CustomerTerms
from serving.ledger.journal import Journal, Posting
from serving.pricing.modifiers.credit import Credit
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice
from serving.storage.history import History


class Accruals:
    """Posts what a period's usage costs so far, line by line, as the difference to what was posted before."""

    def __init__(self, journal: Journal, biller: Biller, history: History, terms: CustomerTerms) -> None:
        self._journal, self._biller, self._history, self._terms = journal, biller, history, terms

    def bring_up(self, user: str, plan_id: str, period: Period, now_ns: int) -> Decimal:
        """Rate the period so far, post what changed, and return the balance: the customer's spend."""
        reader = HistoryReader(self._history, user)
        bill = self._biller.bill(plan_id, user, period, reader, self.credits(user, plan_id, period))
        return self.post(user, plan_id, period, bill, now_ns)

    def post(self, user: str, plan_id: str, period: Period, bill: SplitInvoice, now_ns: int) -> Decimal:
        """Make the ledger say what a bill of an open period says; returns its total.

        A period that was invoiced stays as it is: what comes late is a correction.
        """
        owed: dict[str, Decimal] = {}
        for one in bill.slices:
            for line in one.lines:
                name = f"{line.id}@{one.plan_version}"
                owed[name] = owed.get(name, Decimal(0)) + line.amount
        with self._journal.tables.transaction():  # no other server posts between the balance and what it lacks
            if self._journal.invoiced(user, period):
                return sum(owed.values(), Decimal(0))
            posted = self._journal.balance(f"unbilled:{user}", period)
            changes = {
                name: change
                for name in sorted({*owed, *posted})
                if (change := owed.get(name, Decimal(0)) - posted.get(name, Decimal(0)))
            }
            if changes:
                postings = [
                    posting
                    for name, change in changes.items()
                    for posting in _pair(user, plan_id, name, change, bill.currency)
                ]
                (count,) = self._journal.tables.rows("SELECT count(*) FROM ledger_transactions")[0]
                key = f"usage:{user}:{period.start_ns}:{period.end_ns}:{count}"
                self._journal.post(key, "usage", user, period, now_ns, postings)
        return sum(owed.values(), Decimal(0))

    def balance(self, user: str, period: Period) -> Decimal:
        """The spend of an open period as the ledger has it; what limits are enforced on."""
        return sum(self._journal.balance(f"unbilled:{user}", period).values(), Decimal(0))

    def credits(self, user: str, plan_id: str, period: Period) -> Sequence[Credit]:
        """What is left of a customer's prepaid credits: what was granted less what other periods used."""
        currency = self._biller.currency_of(plan_id)
        left = []
        for credit in self._terms.granted(user, currency):
            own = self._journal.balance(f"credit:{credit.id}", period).values()
            used = sum(self._journal.balance(f"credit:{credit.id}").values(), Decimal(0)) - sum(own, Decimal(0))
            if credit.balance > used:
                left.append(Credit(credit.id, credit.balance - used, credit.priority, credit.expires_ns))
        return left


def _pair(user: str, plan_id: str, line: str, change: Decimal, currency: str) -> tuple[Posting, Posting]:
    against = line.partition("@")[0] if line.startswith("credit:") else f"revenue:{plan_id}"
    return Posting(f"unbilled:{user}", line, change, currency), Posting(against, line, -change, currency)
