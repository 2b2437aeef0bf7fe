"""How a page is made: what every page knows, its template, and the same values as JSON for whoever asks for that."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from serving.access.principal import Principal
from serving.accounts.billing import HistoryReader
from serving.api.billed import period_of, plan_of
from serving.api.dependencies import PlatformDependency, iso
from serving.api.security import Caller, visible_user
from serving.dashboard.period_names import period_after, period_before, period_name
from serving.dashboard.reading import READING
from serving.platform import Platform
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice

PAGES = (
    ("/", "Spend"),
    ("/operations", "Operations"),
    ("/anomalies", "Anomalies"),
    ("/plans", "Plans"),
    ("/live", "Live"),
    ("/models", "Models"),
    ("/settings", "Settings"),
)
VENDOR_ONLY = frozenset({"/settings"})


class View:
    """What a page is asked for: by whom, about which user, under which plan, over which period."""

    def __init__(
        self,
        request: Request,
        platform: PlatformDependency,
        principal: Caller,
        user: str | None = None,
        plan: str | None = None,
        start: Annotated[str | None, Query(max_length=40)] = None,
        end: Annotated[str | None, Query(max_length=40)] = None,
    ) -> None:
        """Raises problems for users and plans that the caller cannot see and for periods that are none."""
        self.request, self.platform, self.principal = request, platform, principal
        self.users = users_of(platform, principal)
        visible_user(principal, platform, user or None)
        self.user: str | None = user or (self.users[0] if self.users else None)
        chosen = plan or (platform.commerce.biller.plan_of(self.user) if self.user else None)
        self.plan: Plan = plan_of(platform, chosen).of_customer(self.user or "")
        self.period: Period = period_of(start or None, end or None)
        self.asked = {"user": self.user, "plan": self.plan.id, "start": start, "end": end}

    @property
    def period_name(self) -> str:
        """What the period is called."""
        return period_name(self.period)

    def neighbours(self) -> list[tuple[str, str]]:
        """(what, link) of this page about the period before and, where that has begun, the one after."""
        around = [("before", period_before(self.period)), ("after", period_after(self.period))]
        here = self.request.url.path
        return [
            (what, self.link(here, start=iso(one.start_ns), end=iso(one.end_ns)))
            for what, one in around
            if 0 < one.start_ns < time.time_ns()
        ]

    def link(self, path: str, **more: str) -> str:
        """Another page about the same user, plan and period."""
        kept = {name: value for name, value in (self.asked | more).items() if value}
        return f"{path}?{urlencode(kept)}" if kept else path


ViewDependency = Annotated[View, Depends()]


def bill_so_far(view: View, period: Period | None = None) -> SplitInvoice:
    """The bill of the page's user as it stands now, of the page's period or another: the one that the API tells."""
    user = str(view.user)
    reader = HistoryReader(view.platform.history, user)
    return view.platform.commerce.biller.bill(view.plan.id, user, period or view.period, reader)


def users_of(platform: Platform, principal: Principal) -> list[str]:
    """The users that a caller can choose from."""
    known = platform.history.users()
    return known if principal.vendor else [user for user in known if user == principal.tenant]


def render(view: View, template: str, values: dict[str, Any], figures: dict[str, Any] | None = None) -> Response:
    """The page, or ``values`` as JSON when that is asked for; ``figures`` (SVG) are for the page only."""
    about = {
        "user": view.user,
        "plan": view.plan.id,
        "period": {"start": iso(view.period.start_ns), "end": iso(view.period.end_ns)},
    }
    if view.request.query_params.get("format") == "json" or _prefers_json(view.request):
        return JSONResponse(about | values)
    session = getattr(view.request.state, "session", None)
    shown = [(path, name) for path, name in PAGES if view.principal.may("admin") or path not in VENDOR_ONLY]
    page = {
        "view": view,
        "about": about,
        "pages": shown,
        "plans": sorted(view.platform.plans),
        "here": view.request.url.path,
        "server": str(view.request.base_url).rstrip("/"),
        "csrf": session.csrf if session else "",
        "signed_in": session is not None,
    }
    return show(template, page | values | (figures or {}))


def show(template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    """A template with its values."""
    headers = {"Cache-Control": "no-store", "Vary": "Accept, Cookie"}
    return HTMLResponse(_templates.get_template(template).render(**values), status, headers)


def _prefers_json(request: Request) -> bool:
    accepted = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",")]
    return "application/json" in accepted and "text/html" not in accepted


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= READING
