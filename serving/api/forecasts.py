"""GET /v1/forecasts: quantiles of the usage to come, by the champion."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from serving.api.dependencies import PlatformDependency
from serving.api.estimates import estimate_problems
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.api.usage import window_length
from serving.estimating.forecasting import forecast_usage

router = APIRouter(tags=["forecasts"], dependencies=[needs("estimates:read")])
WIDEST = 200
"""Windows ahead in one answer about everyone."""


@router.get("/v1/forecasts")
def get_forecasts(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    horizon: Annotated[int, Query(ge=1, le=2_000)] = 24,
    window_s: int | None = None,
) -> dict[str, Any]:
    """Forecast of every series of a user, or of everyone, for the next windows."""
    user = visible_user(principal, platform, user)
    if user is None and horizon > WIDEST:
        raise ProblemError(422, f"horizon={horizon} of everyone at once; ask for one user, or at most {WIDEST} windows")
    length = window_length(platform, window_s)
    until_ns = platform.worker.closed_until_ns(length) or time.time_ns()
    with estimate_problems():
        return forecast_usage(platform.champion, platform.history, length, horizon, until_ns, user)


@router.get("/v1/models/champion")
def get_champion(platform: PlatformDependency) -> dict[str, Any]:
    """The model in force, and what is wrong with a newer one that could not be loaded."""
    found = platform.champion.current()
    return {"champion": found[1] if found else None, "problem": platform.champion.problem}
