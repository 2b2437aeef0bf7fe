"""The pages: spend with its forecast, operations, anomalies; and the API's reference."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from serving.api.anomalies import document
from serving.api.dependencies import PlatformDependency, time_ns
from serving.dashboard.fan_chart import Fan, fan_chart
from serving.estimate_service import month_ns
from serving.estimates import Request as EstimateRequest
from serving.estimates import UnknownPlanError, estimate
from serving.forecasting import TooLittleHistoryError
from serving.platform import Platform
from serving.pricing.rate import rate
from serving.pricing.usage import Period
from serving.usage_records import usage_records

router = APIRouter(include_in_schema=False)
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(), trim_blocks=True
)
POINTS = 40


@router.get("/", response_class=HTMLResponse)
def spend(
    request: Request,
    platform: PlatformDependency,
    user: str | None = None,
    plan: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> HTMLResponse:
    """Spend to date, the forecast fan, the dearest operations and the anomalies of one user."""
    users = platform.history.users()
    page: dict[str, Any] = {"users": users, "plans": list(platform.plans), "server": str(request.base_url).rstrip("/")}
    if not users:
        return _page("empty.html", page)
    chosen = user if user in users else users[0]
    month_start, month_end = month_ns(time.time_ns())
    start_ns, end_ns = time_ns("start", start, month_start), time_ns("end", end, month_end)
    plan_id = plan if plan is not None and plan in platform.plans else platform.settings.default_plan
    page |= {"user": chosen, "plan": plan_id, "anomalies": [document(a) for a in platform.anomalies.list(chosen)]}
    try:
        page |= _spend(platform, chosen, plan_id, start_ns, end_ns)
    except (TooLittleHistoryError, UnknownPlanError, ValueError) as error:
        page["refusal"] = str(error)
    return _page("spend.html", page)


def docs_page(openapi: dict[str, Any]) -> HTMLResponse:
    """The API's reference from its OpenAPI document, without anything from elsewhere."""
    routes = [
        {"method": method.upper(), "path": path, "summary": operation.get("summary", ""), **operation}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    return _page("docs.html", {"routes": routes, "title": openapi["info"]["title"]})


def _spend(platform: Platform, user: str, plan_id: str, start_ns: int, end_ns: int) -> dict[str, Any]:
    now_ns = platform.worker.status()["watermark_ns"] or time.time_ns()
    window_s = next(
        (s for s in platform.settings.windows_s if (end_ns - now_ns) / 1e9 / s <= 1_000),
        platform.settings.windows_s[-1],
    )
    request = EstimateRequest(user, start_ns, end_ns, now_ns, window_s)
    found = estimate(platform, request, [plan_id])
    one = found["estimates"][0]
    past = _spent(platform, user, plan_id, start_ns, min(now_ns, end_ns), end_ns)
    quantiles = {level: float(amount) for level, amount in one["quantiles"].items()}
    fan = Fan(past, quantiles, one["currency"], found["period"]["start"], found["period"]["end"])
    return {"estimate": one, "model": found["model"], "found": found, "chart": Markup(fan_chart(fan))}  # noqa: S704 -- it escapes what it is given


def _spent(
    platform: Platform, user: str, plan_id: str, start_ns: int, now_ns: int, end_ns: int
) -> list[tuple[float, float]]:
    """Cumulative cost at some moments up to now; every one rated for itself, as tiers are not linear."""
    window_s = platform.settings.windows_s[0]
    windows = platform.history.windows(window_s, start_ns, now_ns, user)
    records = usage_records(windows.with_columns(pl.col("window_start")), window_s * 1_000_000_000)
    first = records[0].start_ns if records else start_ns
    moments = [first + (now_ns - first) * step // POINTS for step in range(1, POINTS + 1)]
    plan = platform.plans[plan_id]
    span = end_ns - start_ns
    return [
        ((moment - start_ns) / span, float(rate(plan, records, Period(start_ns, moment)).total))
        for moment in moments
        if moment > start_ns
    ]


def _page(name: str, values: dict[str, Any]) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(name).render(**values))
