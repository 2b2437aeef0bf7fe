"""The forecasters that commands, configurations and bundles may name."""

from __future__ import annotations

from models.contracts import Forecaster
from models.forecasters.ensemble import Ensemble
from models.forecasters.lstm import Lstm
from models.forecasters.markov import Markov
from models.forecasters.npts import Npts
from models.forecasters.seasonal_naive import SeasonalNaive
from models.forecasters.smoothing import Smoothing

FORECASTERS: dict[str, type[Forecaster]] = {
    "seasonal-naive": SeasonalNaive,
    "markov": Markov,
    "npts": Npts,
    "smoothing": Smoothing,
    "lstm": Lstm,
    "ensemble": Ensemble,
}
"""Name -> class; to add a forecaster, write its file and add its line."""
