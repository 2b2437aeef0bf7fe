"""GET /v1/baselines: what is usual for every series, as the engine has learnt it."""

from __future__ import annotations

import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.api.dependencies import PlatformDependency
from serving.api.security import Caller, needs, visible_user
from serving.api.tabular import CONTENT, table
from serving.engine.baselines import baseline_table

router = APIRouter(tags=["usage"], dependencies=[needs("usage:read")])


@router.get("/v1/baselines", responses=CONTENT)
def get_baselines(
    request: Request,
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    operation: str | None = None,
) -> Response:
    """Mean, deviation and quantiles of each series' main resource a window, and its rate and load now.

    The mean is of all windows with usage, quantiles are of the last 64. Rate (events a second) and load (seconds of
    execution a second) fade with a half-life of ten minutes; they are as of `learnt_until`.
    """
    user = visible_user(principal, platform, user)
    state = platform.worker.state
    names = state.series.names
    asked = {"user_id": user, "operation_id": operation}
    matches = [pl.col("user_id") != "", *(pl.col(name) == value for name, value in asked.items() if value is not None)]
    which = names.select(pl.all_horizontal(matches).alias("which")).to_series().to_numpy()
    found = baseline_table(state.baselines, names, which).sort(names.columns)
    return table(request, "baselines", found, {"window_s": platform.worker.baseline_window_s})
