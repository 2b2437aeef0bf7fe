"""POST /v1/estimates: the predictive bill under one plan or several."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from serving.api.dependencies import PlatformDependency, known_user, time_ns
from serving.api.problems import ProblemError
from serving.estimates import Request, UnknownPlanError, estimate
from serving.forecasting import TooLittleHistoryError
from serving.platform import Platform

router = APIRouter(tags=["estimates"])


class EstimateRequest(BaseModel):
    """Whose bill under which plans; the period is the calendar month in UTC unless given."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user": "acme", "plans": ["per-request"]}]}
    )

    user: str
    plans: Annotated[list[str], Field(max_length=8)] = []
    period_start: str | None = None
    period_end: str | None = None
    paths: Annotated[int, Field(ge=10, le=20_000)] = 1_000
    budget: Decimal | None = None


@router.post("/v1/estimates")
def post_estimates(body: EstimateRequest, platform: PlatformDependency) -> dict[str, Any]:
    """Spend so far and the bill at period end, as a distribution, with the split by operation and micro-operation."""
    known_user(platform, body.user)
    now_ns = platform.worker.status()["watermark_ns"] or time.time_ns()
    month_start_ns, month_end_ns = month_ns(time.time_ns())
    end_ns = time_ns("period_end", body.period_end, month_end_ns)
    try:
        request = Request(
            user=body.user,
            start_ns=time_ns("period_start", body.period_start, month_start_ns),
            end_ns=end_ns,
            now_ns=now_ns,
            window_s=_window_s(platform, end_ns - now_ns),
            paths=body.paths,
            budget=body.budget,
        )
        return estimate(platform, request, body.plans or [platform.settings.default_plan])
    except UnknownPlanError as error:
        raise ProblemError(404, str(error)) from error
    except TooLittleHistoryError as error:
        raise ProblemError(409, str(error), missing_windows=error.missing_windows) from error
    except ValueError as error:
        raise ProblemError(422, str(error)) from error


def month_ns(now_ns: int) -> tuple[int, int]:
    """Start and end of the calendar month in UTC."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()) * 1_000_000_000, int(end.timestamp()) * 1_000_000_000


def _window_s(platform: Platform, ahead_ns: int) -> int:
    """Without a champion: the shortest window of which not more than 1,000 lie ahead."""
    fits = [length for length in platform.settings.windows_s if ahead_ns / 1e9 / length <= 1_000]
    return min(fits, default=max(platform.settings.windows_s))
