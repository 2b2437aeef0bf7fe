"""Takes a person's name out of the ledger: amounts stay, as books must, but nothing says any more whose they are."""

from __future__ import annotations

import json
from typing import Any

from features.database import Connection, tables
from serving.ledger.documents import canonical, digest

ERASED = "erased"
PLACES = (("ledger_transactions", "user_id = :user"), ("invoices", "user_id = :user"))
"""Tables that hold the name, and the condition that finds it."""


def forget(connection: Connection, user: str) -> dict[str, int]:
    """Rename a user in journal and invoices, inside the caller's transaction; returns how many rows, by table.

    An invoice keeps its lines and amounts and gets a new digest; it can no longer be made again, as the usage behind
    it is gone.
    """
    if not {table for table, _ in PLACES} <= tables(connection):
        return {}
    heads = connection.execute("SELECT id FROM ledger_transactions WHERE user_id = ?", (user,)).fetchall()
    for (number,) in heads:
        connection.execute(
            "UPDATE ledger_transactions SET user_id = ?, entry_key = ? WHERE id = ?",
            (ERASED, f"{ERASED}:{number}", number),
        )
        for kind in ("unbilled", "receivable", "corrections"):
            connection.execute(
                "UPDATE ledger_postings SET account = ? WHERE transaction_id = ? AND account = ?",
                (f"{kind}:{ERASED}", number, f"{kind}:{user}"),
            )
    invoices = connection.execute("SELECT sequence, body FROM invoices WHERE user_id = ?", (user,)).fetchall()
    for sequence, body in invoices:
        text = canonical(_renamed(json.loads(body)))
        connection.execute(
            "UPDATE invoices SET user_id = ?, body = ?, digest = ? WHERE sequence = ?",
            (ERASED, text, digest(text), sequence),
        )
    return {"ledger_transactions": len(heads), "invoices": len(invoices)}


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    document["user"] = ERASED
    for one in document["slices"]:
        for line in one["lines"]:
            for part in line["parts"]:
                part["usage"] = None
    return document
