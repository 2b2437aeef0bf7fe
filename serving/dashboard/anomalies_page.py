"""The page Anomalies: what stood out, by money, with the band that was expected and buttons for a verdict."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from serving.alerts.anomaly import SPEND, SPEND_A_RUN
from serving.alerts.store import VERDICTS
from serving.alerts.wording import UNITS, quantity
from serving.api import planned_events
from serving.api.anomalies import document, visible
from serving.dashboard.reading import share
from serving.dashboard.rendering import ViewDependency, render

router = APIRouter(include_in_schema=False)
WIDTH, HEIGHT = 150.0, 22.0
MOST_CAUSES = 4
SMALL = Decimal("0.02")
"""Anomalies that cost less than this share of the first one are folded up."""
_KINDS = {"user": "customers", "operation": "operations", "micro-operation": "micro-operations"}


@router.get("/anomalies")
def anomalies_page(view: ViewDependency) -> Response:
    """Anomalies of one user, dearest first; the vendor sees those of everyone's operations beside them."""
    if view.user is None:
        return render(view, "empty.html", {"users": view.users})
    span = (view.period.start_ns, view.period.end_ns)
    found = visible(view.principal, view.platform, view.platform.anomalies.list(view.user, None, *span))
    rows = sorted((document(one) for one in found), key=lambda row: (row["paged"] is None, -_cost(row)))
    charts = {row["id"]: band(row) for row in rows if row["expected"]}
    said = {row["id"]: compared(row) for row in rows if row["expected"]}
    causes = {row["id"]: made_of(row) for row in rows}
    small = {row["id"] for row in rows if not row["paged"] and _cost(row) < SMALL * _cost(rows[0])}
    events = [planned_events.document(event) for event in view.platform.anomalies.planned(view.user)]
    figures = {"charts": charts, "said": said, "causes": causes, "small": small, "verdicts": VERDICTS}
    return render(view, "anomalies.html", {"anomalies": rows, "planned": events}, figures)


@router.post("/anomalies/planned")
def plan(
    view: ViewDependency,
    user: Annotated[str, Form(max_length=256)],
    start: Annotated[str, Form(max_length=40)],
    end: Annotated[str, Form(max_length=40)],
    repeats: Annotated[str, Form(max_length=10)] = "",
    note: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Enter a planned event of a user; times without a zone are UTC."""
    times = {"start": f"{start}Z" if len(start) == 16 else start, "end": f"{end}Z" if len(end) == 16 else end}
    body = planned_events.NewEvent(user=user, repeats=repeats, note=note, **times)
    planned_events.post_planned_event(body, view.platform, view.principal)
    return RedirectResponse(f"/anomalies?user={quote(user)}", 303)


@router.post("/anomalies/planned/{event_id}/delete")
def unplan(view: ViewDependency, event_id: str) -> Response:
    """Take a planned event out."""
    planned_events.delete_planned_event(event_id, view.platform, view.principal)
    return RedirectResponse("/anomalies", 303)


def compared(row: dict[str, Any]) -> str:
    """What was seen a run, and what was expected, with units."""
    is_money = row["resource"] in (SPEND, SPEND_A_RUN)
    unit = (row["currency"] or "") if is_money else UNITS.get(row["resource"], "")
    each = " a window" if row["resource"] == SPEND else " a run"
    low, high = (quantity(row["expected"][bound], unit) for bound in ("low", "high"))
    usual = f"{low} to {high} were expected" if low != high else f"{low} was expected"
    return f"{quantity(row['observed'], unit)}{each}; {usual}"


def made_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind of cause, its greatest ones with their shares), each as a share of all of its kind."""
    found: dict[str, list[tuple[str, float]]] = {}
    for cause in row["causes"]:
        found.setdefault(cause["what"], []).append((cause["name"], cause["share"]))
    told = []
    for what, causes in found.items():
        whole = sum(part for _, part in causes) or 1.0
        names = ", ".join(f"{name} {share(part / whole)}" for name, part in causes[:MOST_CAUSES])
        told.append((_KINDS.get(what, what), names))
    return told


def band(row: dict[str, Any]) -> Markup:
    """The expected band as a bar, its middle as a tick and what was observed as a dot, on one scale from zero."""
    expected, observed = row["expected"], float(row["observed"])
    top = max(observed, expected["high"], 1e-12) * 1.05
    low, middle, high, seen = (
        6 + value / top * (WIDTH - 12) for value in (expected["low"], expected["middle"], expected["high"], observed)
    )
    about = (
        f"observed {observed:.4g}, expected between {expected['low']:.4g} and {expected['high']:.4g}, "
        f"most likely {expected['middle']:.4g}"
    )
    return Markup(  # noqa: S704 -- every text in it is escaped
        f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(about)}">'
        f'<line class="grid" x1="6" x2="{WIDTH - 6:g}" y1="11" y2="11"/>'
        f'<rect class="band-solid" x="{low:.1f}" y="6" width="{max(high - low, 1):.1f}" height="10"/>'
        f'<line class="tick" x1="{middle:.1f}" x2="{middle:.1f}" y1="4" y2="18"/>'
        f'<circle class="seen" cx="{seen:.1f}" cy="11" r="4.5"/></svg>'
    )


def _cost(row: dict[str, Any]) -> Decimal:
    return Decimal(row["cost"] or 0)
