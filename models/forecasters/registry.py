"""The forecasters that commands, configurations and bundles may name."""

from __future__ import annotations

from models.contracts import Forecaster
from models.forecasters import auto_ets, light_gbm
from models.forecasters.ensemble import Ensemble
from models.forecasters.gaussian_process import GaussianProcess
from models.forecasters.lstm import Lstm
from models.forecasters.markov import Markov
from models.forecasters.npts import Npts
from models.forecasters.seasonal_naive import SeasonalNaive

FORECASTERS: dict[str, type[Forecaster]] = {
    "seasonal-naive": SeasonalNaive,
    "markov": Markov,
    "npts": Npts,
    "gaussian-process": GaussianProcess,
    "lstm": Lstm,
    "ensemble": Ensemble,
    **({"auto-ets": auto_ets.AutoEts} if auto_ets.IS_INSTALLED else {}),
    **({"lightgbm": light_gbm.LightGbm} if light_gbm.IS_INSTALLED else {}),
}
"""Name -> class; to add a forecaster, write its file and add its line. Challengers are there where installed."""

CHALLENGERS = {"auto-ets": "statsforecast", "lightgbm": "lightgbm"}
"""Forecasters of the extra `challengers`, and the package each needs."""


def why_unknown(name: str) -> str:
    """Why there is no forecaster of this name, and what to do."""
    if name in CHALLENGERS:
        return (
            f"{name} needs {CHALLENGERS[name]}, which is not installed: pip install 'metercast-platform[challengers]'"
        )
    return f"no model {name!r}; there are {', '.join(FORECASTERS)}"
