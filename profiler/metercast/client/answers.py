"""Answers that are pleasant to hold: rows that show as a table in a notebook, estimates with exact money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

SHOWN = 30


class Table(list[dict[str, Any]]):
    """Rows as dictionaries; `polars.DataFrame(table)` and `pandas.DataFrame(table)` take them as they are."""

    def _repr_html_(self) -> str:
        """The first rows, for notebooks."""
        return html_table(self[:SHOWN]) + (f"<p>{len(self) - SHOWN} more rows</p>" if len(self) > SHOWN else "")


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill at the period's end under one plan, amounts in ``currency``; quantiles by level from 0.1 to 0.9."""

    plan: str
    currency: str
    spend_so_far: Decimal
    expected: Decimal
    quantiles: Mapping[float, Decimal]
    operations: Table
    probability_over_budget: float | None

    @property
    def median(self) -> Decimal:
        """The bill that is as likely exceeded as not."""
        return self.quantiles[0.5]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Bill:
        """From one of the `estimates` of the server's document."""
        budget = document.get("budget")
        return cls(
            document["plan"]["id"],
            document["currency"],
            Decimal(document["spend_so_far"]),
            Decimal(document["expected"]),
            {float(level): Decimal(amount) for level, amount in document["quantiles"].items()},
            Table(document["operations"]),
            None if budget is None else float(budget["probability_over"]),
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """The predictive bill of a user; ``document`` is all that the server said."""

    user: str
    bills: tuple[Bill, ...]
    document: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Estimate:
        """From the server's document."""
        return cls(document["user"], tuple(Bill.of(one) for one in document["estimates"]), document)

    @property
    def cheapest(self) -> str | None:
        """The plan that is cheapest in expectation, where several were asked for."""
        found = self.document.get("comparison", {}).get("cheapest")
        return None if found is None else str(found)

    def _repr_html_(self) -> str:
        """One row a plan, for notebooks."""
        rows = [
            {
                "plan": bill.plan,
                "so far": f"{bill.spend_so_far} {bill.currency}",
                "P10": bill.quantiles[0.1],
                "P50": bill.median,
                "P90": bill.quantiles[0.9],
            }
            for bill in self.bills
        ]
        period = self.document["period"]
        return f"<p>Bill of {escape(self.user)} for {period['start']} to {period['end']}</p>" + html_table(rows)


def html_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the same keys as an HTML table; numbers to the right."""
    rows = list(rows)
    if not rows:
        return "<p>no rows</p>"
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td{_side(value)}>{escape(str(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _side(value: object) -> str:
    return ' style="text-align:right"' if isinstance(value, int | float | Decimal) else ""
