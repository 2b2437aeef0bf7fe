"""The page Live: events as they come, lag, what metering costs, prices now, and the last windows, fed by /v1/live."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response

from serving.api.prices import factors_now
from serving.dashboard.rendering import ViewDependency, render

router = APIRouter(include_in_schema=False)


@router.get("/live")
def live_page(view: ViewDependency) -> Response:
    """The engine as it stands now; the script goes on from there. A customer sees its own windows only."""
    platform = view.platform
    values = {
        "engine": platform.status() if view.principal.vendor else None,
        "accepted": platform.committer.accepted_events if view.principal.vendor else None,
        "duplicate": platform.committer.duplicate_events if view.principal.vendor else None,
        "factors": {name: f"{factor:f}" for name, factor in factors_now(platform, view.plan, time.time_ns()).items()},
        "window_s": platform.settings.windows_s[0],
        "stream": "/v1/live" if view.principal.vendor else f"/v1/live?{urlencode({'user': view.user})}",
    }
    return render(view, "live.html", values)
