"""GET /v1/forecasts: quantiles of the usage to come, by the champion."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from serving.api.dependencies import PlatformDependency, known_user
from serving.api.problems import ProblemError
from serving.forecasting import TooLittleHistoryError, forecast_usage

router = APIRouter(tags=["forecasts"])


@router.get("/v1/forecasts")
def get_forecasts(
    platform: PlatformDependency,
    user: str | None = None,
    horizon: Annotated[int, Query(ge=1, le=2_000)] = 24,
    window_s: int | None = None,
) -> dict[str, Any]:
    """Forecast of every series of a user, or of everyone, for the next windows."""
    if user is not None:
        known_user(platform, user)
    length = window_s or platform.settings.windows_s[0]
    until_ns = platform.worker.status()["watermark_ns"] or time.time_ns()
    try:
        return forecast_usage(platform.champion, platform.history, length, horizon, until_ns, user)
    except TooLittleHistoryError as error:
        raise ProblemError(409, str(error), missing_windows=error.missing_windows) from error


@router.get("/v1/models/champion")
def get_champion(platform: PlatformDependency) -> dict[str, Any]:
    """The model in force, and what is wrong with a newer one that could not be loaded."""
    found = platform.champion.current()
    return {"champion": found[1] if found else None, "problem": platform.champion.problem}
