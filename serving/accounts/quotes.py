"""Quotes: prices locked for a time and a quantity, signed by the server, redeemed once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from serving.pricing.factors.quote import Quote
from serving.storage.tables import Tables

_TABLE = """
CREATE TABLE IF NOT EXISTS quotes (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    plan_id TEXT NOT NULL,
    body TEXT NOT NULL,
    until_ns BIGINT NOT NULL,
    redeemed_ns BIGINT
)
"""


class QuoteError(ValueError):
    """A quote that cannot be redeemed; ``status`` is that of HTTP for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Promise:
    """What one charge costs at most under a quote, and for how much of it (None: no bound)."""

    charge_id: str
    factor: Decimal
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class IssuedQuote:
    """A quote as it was issued; ``redeemed_ns`` None before it is redeemed."""

    id: str
    user: str
    plan_id: str
    plan_version: int
    issued_ns: int
    until_ns: int
    promises: tuple[Promise, ...]
    redeemed_ns: int | None = None

    def body(self) -> dict[str, Any]:
        """What is signed."""
        return {
            "id": self.id,
            "user": self.user,
            "plan": self.plan_id,
            "version": self.plan_version,
            "issued_ns": self.issued_ns,
            "until_ns": self.until_ns,
            "promises": [
                [one.charge_id, str(one.factor), None if one.quantity is None else str(one.quantity)]
                for one in self.promises
            ],
        }

    def in_force(self) -> list[Quote]:
        """As pricing takes it: from its redemption to its end, charge by charge."""
        if self.redeemed_ns is None:
            return []
        return [
            Quote(self.id, self.redeemed_ns, self.until_ns, one.factor, one.charge_id, one.quantity)
            for one in self.promises
        ]


class QuoteDesk:
    """Issues and redeems quotes of one data directory."""

    def __init__(self, tables: Tables, secret: bytes) -> None:
        """``secret`` is the server's; quotes are signed with a key of their own that is derived from it."""
        self._tables = tables
        self._key = hmac.digest(secret, b"metercast quotes v1", "sha256")
        tables.create(_TABLE)

    def issue(
        self,
        user: str,
        plan: tuple[str, int],
        factors: Mapping[str, Decimal],
        quantities: Mapping[str, Decimal],
        span_ns: tuple[int, int],
    ) -> tuple[IssuedQuote, str]:
        """A new quote and its token; ``factors`` and ``quantities`` are by charge, ``span_ns`` from issue to end.

        With quantities only those charges are promised. Raises ValueError for unknown charges and bad quantities.
        """
        unknown = set(quantities) - set(factors)
        if unknown:
            known = ", ".join(sorted(factors)) or "none"
            raise ValueError(f"charge {sorted(unknown)[0]!r} has no changing price; those that have are {known}")
        for charge, quantity in quantities.items():
            if not quantity.is_finite() or quantity <= 0:
                raise ValueError(f"a quote for {quantity} of {charge!r}; the quantity must be above 0")
        promised = quantities or dict.fromkeys(factors)
        promises = tuple(Promise(charge, factors[charge], promised[charge]) for charge in sorted(promised))
        quote = IssuedQuote(secrets.token_hex(8), user, *plan, *span_ns, promises)
        body = json.dumps(quote.body(), sort_keys=True)
        self._tables.write(
            "INSERT INTO quotes (id, user_id, plan_id, body, until_ns) VALUES (?, ?, ?, ?, ?)",
            (quote.id, user, quote.plan_id, body, quote.until_ns),
        )
        return quote, self._token(body)

    def read(self, token: str) -> IssuedQuote:
        """The quote that a token stands for; raises QuoteError for one that was not signed here."""
        text, _, signature = token.partition(".")
        try:
            body = base64.urlsafe_b64decode(text.encode()).decode()
        except (ValueError, UnicodeDecodeError):
            body = ""
        if not body or not hmac.compare_digest(self._signature(body).encode(), signature.encode()):
            raise QuoteError(
                422, "this token was not signed by this server; send the token of POST /v1/quotes unchanged"
            )
        return _parse(json.loads(body), None)

    def redeem(self, token: str, now_ns: int) -> IssuedQuote:
        """Put a quote into force from now to its end, once; raises QuoteError for a used, ended or forged one."""
        quote = self.read(token)
        if now_ns >= quote.until_ns:
            raise QuoteError(410, f"quote {quote.id} has ended; ask for a new one")
        changed = self._tables.write(
            "UPDATE quotes SET redeemed_ns = ? WHERE id = ? AND redeemed_ns IS NULL", (now_ns, quote.id)
        )
        if changed != 1:
            raise QuoteError(
                409, f"quote {quote.id} was redeemed before, and a quote is redeemed once; ask for a new one"
            )
        return _parse(quote.body(), now_ns)

    def redeemed(self, user: str, plan_id: str, start_ns: int, end_ns: int) -> list[Quote]:
        """The quotes of a user that hold somewhere in [start_ns, end_ns)."""
        rows = self._tables.rows(
            "SELECT body, redeemed_ns FROM quotes WHERE user_id = ? AND plan_id = ? AND redeemed_ns IS NOT NULL "
            "AND redeemed_ns < ? AND until_ns > ? ORDER BY redeemed_ns, id",
            (user, plan_id, end_ns, start_ns),
        )
        return [quote for body, at in rows for quote in _parse(json.loads(body), int(at)).in_force()]

    def _token(self, body: str) -> str:
        return f"{base64.urlsafe_b64encode(body.encode()).decode()}.{self._signature(body)}"

    def _signature(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


def _parse(document: Mapping[str, Any], redeemed_ns: int | None) -> IssuedQuote:
    promises = tuple(
        Promise(charge, Decimal(factor), None if quantity is None else Decimal(quantity))
        for charge, factor, quantity in document["promises"]
    )
    ends = (document["issued_ns"], document["until_ns"])
    head = (document["id"], document["user"], document["plan"], document["version"])
    return IssuedQuote(*head, *ends, promises, redeemed_ns)
