"""/v1/prices: demand prices as published, with history and reason, and signals that the vendor posts."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.api.billed import plan_of
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, vendor_only
from serving.demand.demand_prices import PublishedPrice
from serving.demand.demand_publisher import demand_rules
from serving.pricing.factors.conditions import Conditions, event_factor
from serving.pricing.factors.demand import Demand
from serving.pricing.factors.schedule import Schedule
from serving.pricing.plan import Plan

router = APIRouter(tags=["prices"], dependencies=[needs("estimates:read")])
HOUR_NS = 3_600_000_000_000


class SignalRequest(BaseModel):
    """A value of a signal of the vendor's own, now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"value": "0.82"}]})

    value: Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=9)]


@router.get("/v1/prices/current")
def get_prices(
    platform: PlatformDependency, plan: str | None = None, history: Annotated[int, Query(ge=0, le=1_000)] = 24
) -> dict[str, Any]:
    """The factor on each charge now, what is published ahead, the history with reasons, and the rules themselves."""
    found, now_ns = plan_of(platform, plan), time.time_ns()
    rules = [
        _rule(platform.commerce.prices.latest(found.id, one.id, history + 2), one, now_ns)
        for one in demand_rules(found)
    ]
    return {
        "plan": {"id": found.id, "version": found.version},
        "now": iso(now_ns),
        "charges": [
            {"id": charge_id, "factor": f"{factor:f}"}
            for charge_id, factor in factors_now(platform, found, now_ns).items()
        ],
        "demand": rules,
        "schedules": _schedules(found, now_ns),
        "bounds": {
            "floor": str(found.factor_bounds.floor),
            "cap": None if found.factor_bounds.cap is None else str(found.factor_bounds.cap),
        },
    }


@router.put("/v1/prices/signals/{name}", status_code=204, dependencies=[needs("plans:write")])
def put_signal(name: str, body: SignalRequest, platform: PlatformDependency, principal: Caller) -> None:
    """Post the value of a signal; rules that name it follow it from the next interval on."""
    vendor_only(principal)
    try:
        platform.commerce.signals.post(name, time.time_ns(), body.value)
    except ValueError as error:
        raise ProblemError(422, str(error)) from error


def factors_now(platform: PlatformDependency, plan: Plan, now_ns: int) -> dict[str, Decimal]:
    """The combined factor of every charge that has one, at an instant."""
    published = platform.commerce.prices.histories(plan, now_ns, now_ns + 1)
    return {
        charge.id: event_factor(charge.factors, plan.factor_bounds, Conditions(published), now_ns)
        for charge in plan.charges
        if charge.factors
    }


def _rule(prices: list[PublishedPrice], demand: Demand, now_ns: int) -> dict[str, Any]:
    current = next((one for one in prices if one.price.from_ns <= now_ns < one.price.until_ns), None)
    ahead = [one for one in prices if one.price.from_ns > now_ns]
    past = [one for one in prices if one.price.until_ns <= now_ns]
    return {
        "id": demand.id,
        "signal": demand.signal,
        "formula": "L += (1 - 2^(-interval/half_life)) (x - L); r = 1 + elasticity (L - target)/target; "
        "factor = clip(clip(r, last - max_step, last + max_step), floor, cap)",
        "rules": {
            name: str(getattr(demand, name))
            for name in (
                *("target", "elasticity", "floor", "cap", "half_life_s", "max_step", "interval_s", "lead_s"),
                *("stale_after_s", "capacity"),
            )
        },
        "current": _document(current) if current else {"factor": "1", "reason": "nothing published: the list price"},
        "ahead": [_document(one) for one in reversed(ahead)],
        "history": [_document(one) for one in past],
    }


def _document(one: PublishedPrice) -> dict[str, Any]:
    return {
        "version": one.version,
        "from": iso(one.price.from_ns),
        "until": iso(one.price.until_ns),
        "factor": str(one.price.factor),
        "smoothed_load": f"{one.smoothed:.6f}",
        "reason": one.price.reason,
        "published": iso(one.published_ns),
    }


def _schedules(plan: Plan, now_ns: int) -> list[dict[str, Any]]:
    """Time of use now and in the hours to come, so that buyers can plan."""
    found = {f.id: f for charge in plan.charges for f in charge.factors if isinstance(f, Schedule)}
    start = now_ns - now_ns % HOUR_NS
    return [
        {
            "id": name,
            "timezone": str(schedule.timezone),
            "factor": str(schedule.at(now_ns)),
            "next_24_hours": [
                {"from": iso(start + hour * HOUR_NS), "factor": str(schedule.at(start + hour * HOUR_NS))}
                for hour in range(1, 25)
            ],
        }
        for name, schedule in found.items()
    ]
