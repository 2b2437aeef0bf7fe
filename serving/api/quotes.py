"""/v1/quotes: prices locked for a time and a quantity, signed, redeemed once."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from serving.accounts.quotes import IssuedQuote, QuoteError
from serving.api.billed import plan_of
from serving.api.dependencies import PlatformDependency, iso
from serving.api.prices import factors_now
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user

router = APIRouter(tags=["quotes"], dependencies=[needs("estimates:read")])
NANOSECONDS = 1_000_000_000
Quantity = Annotated[Decimal, Field(gt=0, max_digits=24, decimal_places=9)]


class QuoteRequest(BaseModel):
    """For whom, on which plan, how much of which charges (all, without a bound, when empty), and for how long."""

    model_config = ConfigDict(extra="forbid")

    user: str
    plan: str | None = None
    quantities: Annotated[dict[str, Quantity], Field(max_length=100)] = {}
    lifetime_s: Annotated[int, Field(gt=0)] | None = None


class RedeemRequest(BaseModel):
    """The token as it was issued."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=20_000)]


@router.post("/v1/quotes", status_code=201)
def post_quote(body: QuoteRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """The factors in force now, promised for a time; nothing is locked before the quote is redeemed."""
    visible_user(principal, platform, body.user)
    plan = plan_of(platform, body.plan or platform.commerce.biller.plan_of(body.user))
    now_ns = time.time_ns()
    lifetime_s = min(body.lifetime_s or plan.quote_ttl_s, plan.quote_ttl_s)
    factors = factors_now(platform, plan, now_ns)
    if not factors:
        raise ProblemError(409, f"plan {plan.id!r} has no changing prices: its list prices are what a quote could say")
    span = (now_ns, now_ns + lifetime_s * NANOSECONDS)
    try:
        quote, token = platform.commerce.quotes.issue(
            body.user, (plan.id, plan.version), factors, body.quantities, span
        )
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
    return _document(quote) | {"token": token}


@router.post("/v1/quotes/redeem")
def post_redemption(body: RedeemRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Put a quote into force from now on: what is used under it costs at most what it says. Works once."""
    try:
        visible_user(principal, platform, platform.commerce.quotes.read(body.token).user)
        quote = platform.commerce.quotes.redeem(body.token, time.time_ns())
    except QuoteError as error:
        raise ProblemError(error.status, str(error)) from error
    platform.audit.record(principal.key_id, "quote.redeem", quote.user, quote=quote.id)
    return _document(quote)


def _document(quote: IssuedQuote) -> dict[str, Any]:
    return {
        "id": quote.id,
        "user": quote.user,
        "plan": {"id": quote.plan_id, "version": quote.plan_version},
        "issued": iso(quote.issued_ns),
        "until": iso(quote.until_ns),
        "redeemed": None if quote.redeemed_ns is None else iso(quote.redeemed_ns),
        "promises": [
            {
                "charge": one.charge_id,
                "factor": f"{one.factor:f}",
                "quantity": None if one.quantity is None else f"{one.quantity:f}",
            }
            for one in quote.promises
        ],
    }
