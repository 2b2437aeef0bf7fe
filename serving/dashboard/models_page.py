"""The page Models: the champion, its backtest, how it does since, and what is wrong with a newer one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from serving.dashboard.accuracy_chart import accuracy_chart
from serving.dashboard.rendering import ViewDependency, render

router = APIRouter(include_in_schema=False)
MEANINGS = {
    "mase": ("Error of the middle (MASE)", "1 is as good as repeating the last season, lower is better"),
    "wql": ("Error of the whole distribution (WQL)", "weighted quantile loss, lower is better"),
    "coverage": ("Windows inside P10 to P90", "0.8 is right"),
    "scaled_pinball": ("Scaled pinball loss", "as WQL, each series weighs the same; lower is better"),
    "bill_wape": ("Error of totals (WAPE)", "as a share of them, lower is better"),
    "bill_wql": ("Error of the distribution of totals (WQL)", "lower is better"),
    "bill_coverage": ("Totals inside P10 to P90", "0.8 is right"),
    "origins": ("Moments it was made to forecast from", ""),
}
TRAINED_ON = {
    "trained_until": "Usage until",
    "window_s": "Windows, s",
    "season": "Windows of a season",
    "horizon": "Windows ahead",
    "data": "Digest of the data",
    "run_id": "MLflow run",
}
"""What a champion's metadata is called."""


@router.get("/models")
def models_page(view: ViewDependency) -> Response:
    """The model in force."""
    found = view.platform.champion.current()
    metadata: dict[str, Any] = dict(found[1]) if found else {}
    backtest = metadata.pop("backtest", None) or {}
    drift = view.platform.drift.report(view.principal.tenant)
    coverage = backtest.get("bill_coverage", backtest.get("coverage"))
    values = {
        "champion": metadata or None,
        "backtest": backtest,
        "verdict": calibration(float(coverage)) if isinstance(coverage, int | float) else None,
        "drift": drift,
        "problem": view.platform.champion.problem,
    }
    chart = accuracy_chart(drift["origins"], drift["reference"]) if drift and len(drift["origins"]) > 1 else ""
    return render(
        view, "models.html", values, {"meanings": MEANINGS, "trained_on": TRAINED_ON, "accuracy_chart": chart}
    )


def calibration(coverage: float) -> str:
    """What a coverage of the P10 to P90 band means for someone who reads the fan chart."""
    if coverage < 0.7:
        return "The fan is too narrow: bills fall outside it more often than 2 in 10. The true range is wider."
    if coverage > 0.9:
        return "The fan is too wide: bills fall inside it more often than 8 in 10. The true range is narrower."
    return "The fan is about right: bills fell inside it about 8 times in 10."
