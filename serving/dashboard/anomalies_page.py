"""The page Anomalies: what stood out, by money, with the band that was expected and buttons for a verdict."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from markupsafe import Markup

from serving.alerts.store import VERDICTS
from serving.api.anomalies import document, visible
from serving.dashboard.rendering import UNITS, ViewDependency, prefixed, render

router = APIRouter(include_in_schema=False)
WIDTH, HEIGHT = 150.0, 22.0


@router.get("/anomalies")
def anomalies_page(view: ViewDependency) -> Response:
    """Anomalies of one user, dearest first; the vendor sees those of everyone's operations beside them."""
    if view.user is None:
        return render(view, "empty.html", {"users": view.users})
    found = visible(view.principal, view.platform, view.platform.anomalies.list(view.user))
    rows = sorted((document(one) for one in found), key=lambda row: -Decimal(row["cost"] or 0))
    charts = {row["id"]: band(row) for row in rows if row["expected"]}
    said = {row["id"]: compared(row) for row in rows if row["expected"]}
    figures = {"charts": charts, "said": said, "verdicts": VERDICTS}
    return render(view, "anomalies.html", {"anomalies": rows}, figures)


def compared(row: dict[str, Any]) -> str:
    """What was seen a run, and what was expected, with units."""
    unit = UNITS.get(row["resource"], "")
    low, high = (prefixed(row["expected"][bound]) for bound in ("low", "high"))
    return f"{prefixed(row['observed'])}{unit} a run; {low}{unit} to {high}{unit} were expected"


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
