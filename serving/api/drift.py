"""GET /v1/models/drift: how well the champion forecasts what has come since it was trained."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.api.dependencies import PlatformDependency
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user

router = APIRouter(tags=["forecasts"], dependencies=[needs("estimates:read")])


@router.get("/v1/models/drift")
def get_drift(platform: PlatformDependency, principal: Caller, user: str | None = None) -> dict[str, Any]:
    """Rolling scaled pinball loss of the champion, over all series and of those forecast worst, against its backtest.

    A tenant's key sees its own series only. `status` is `unknown`, `waiting`, `steady` or `drifted`.
    """
    found = platform.drift.report(visible_user(principal, platform, user))
    if found is None:
        raise ProblemError(404, "no model has been promoted yet; train one with `metercast train` and promote it")
    return found
