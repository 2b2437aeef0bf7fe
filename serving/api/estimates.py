"""POST /v1/estimates: the predictive bill under one plan or several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from serving.api.dependencies import PlatformDependency, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.estimate_service import Question, month_ns
from serving.estimates import UnknownPlanError
from serving.forecasting import TooLittleHistoryError

router = APIRouter(tags=["estimates"], dependencies=[needs("estimates:read")])


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
    budget: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)] | None = None


@router.post("/v1/estimates")
def post_estimates(body: EstimateRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Spend so far and the bill at period end, as a distribution, with the split by operation and micro-operation.

    Two plans or more are compared on the same sample paths.
    """
    visible_user(principal, platform, body.user)
    start_ns, end_ns = month_ns(time.time_ns())
    question = Question(
        body.user,
        tuple(body.plans) or (platform.settings.default_plan,),
        time_ns("period_start", body.period_start, start_ns),
        time_ns("period_end", body.period_end, end_ns),
        body.paths,
        body.budget,
    )
    with estimate_problems():
        return platform.estimates.ask(question)


@contextmanager
def estimate_problems() -> Iterator[None]:
    """Errors of estimates and forecasts as problems: 404, 409 with the windows that are missing, 422."""
    try:
        yield
    except UnknownPlanError as error:
        raise ProblemError(404, str(error)) from error
    except TooLittleHistoryError as error:
        raise ProblemError(409, str(error), missing_windows=error.missing_windows) from error
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
