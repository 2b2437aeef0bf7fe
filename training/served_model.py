"""The registered model as MLflow serves it: rows of usage in, quantiles of the windows to come out.

`save_served` writes the MLflow model around a bundle; `_load_pyfunc` is what MLflow calls to load it. The weights stay
in the bundle: MLflow's own format adds the signature, an example and the name of this module, and no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from models.bundle import load
from models.contracts import LEVELS
from models.panel import Panel

NANOSECONDS = 1_000_000_000
EXAMPLE_SERIES = "acme|render_report|CPU_INSTRUCTION|cpu_cycles"
QUANTILES = tuple(f"q{level:g}" for level in LEVELS)


class ServedForecaster:
    """A forecaster behind MLflow's contract of data frames."""

    def __init__(self, bundle: Path) -> None:
        """Load the bundle; raises BundleError for one that cannot be used."""
        self._forecaster, self._metadata = load(bundle)

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Quantiles of the next ``params["horizon"]`` windows of every series.

        ``rows`` has series, timestamp and value (null is missing), and may have tenant and resource. The answer has
        series, step (from 1), timestamp and a column a quantile. Raises ValueError for rows that are no panel.
        """
        horizon = int((params or {}).get("horizon") or self._metadata["horizon"])
        if horizon < 1:
            raise ValueError(f"horizon {horizon} reaches nowhere; ask for at least 1 window")
        panel = self._panel(rows)
        steps = self._forecaster.quantiles(panel, horizon)
        ahead = pd.to_datetime(panel.times_ns(horizon)[-horizon:])
        return pd.DataFrame(
            {
                "series": [name for name in panel.series for _ in range(horizon)],
                "step": list(range(1, horizon + 1)) * len(panel.series),
                "timestamp": list(ahead) * len(panel.series),
            }
            | {name: steps[..., place].ravel() for place, name in enumerate(QUANTILES)}
        )

    def _panel(self, rows: pd.DataFrame) -> Panel:
        given = rows.to_dict("list")
        count = len(rows)
        frame = pl.DataFrame(
            {
                "series": [str(name) for name in given["series"]],
                "tenant": [str(name) for name in given.get("tenant", [""] * count)],
                "resource": [str(name) for name in given.get("resource", [""] * count)],
                "timestamp": pl.Series([pd.Timestamp(one).value for one in given["timestamp"]]).cast(pl.Datetime("ns")),
                "value": pl.Series(pd.to_numeric(rows["value"]).to_numpy(dtype="float64", na_value=float("nan"))),
            }
        )
        return Panel.from_frame(frame, self._metadata["window_s"] * NANOSECONDS, self._metadata["season"])


def _load_pyfunc(path: str) -> ServedForecaster:
    """Called by MLflow with the place of the data it was given."""
    return ServedForecaster(Path(path))


def save_served(bundle: Path, metadata: Mapping[str, Any], target: Path) -> None:
    """Write an MLflow model of a bundle and its metadata: signature, input example, loader and requirements."""
    from mlflow import pyfunc

    example = input_example(metadata["window_s"], metadata["season"])
    pyfunc.save_model(
        target,
        loader_module=__name__,
        data_path=str(bundle),
        signature=signature(int(metadata["horizon"])),
        input_example=(example, {"horizon": int(metadata["horizon"])}),
        pip_requirements=[f"metercast-platform=={version('metercast-platform')}"],
        metadata={key: metadata[key] for key in ("name", "window_s", "season", "horizon", "trained_until", "data")},
    )


def input_example(window_s: int, season: int) -> pd.DataFrame:
    """Two seasons of one made-up series: real usage would stay behind with the model."""
    count = max(16, 2 * season)
    return pd.DataFrame(
        {
            "series": EXAMPLE_SERIES,
            "tenant": "acme",
            "resource": "cpu_cycles",
            "timestamp": pd.date_range("2026-01-01", periods=count, freq=pd.Timedelta(seconds=window_s)),
            "value": [float(1_000 + 100 * (place % season)) for place in range(count)],
        }
    )


def signature(horizon: int) -> Any:
    """Columns in and out, and the one parameter: how many windows ahead."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    text, moment, number = DataType.string, DataType.datetime, DataType.double
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(text, "series"),
        ColSpec(text, "tenant", required=False),
        ColSpec(text, "resource", required=False),
        ColSpec(moment, "timestamp"),
        ColSpec(number, "value"),
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(text, "series"),
        ColSpec(DataType.long, "step"),
        ColSpec(moment, "timestamp"),
    ]
    return ModelSignature(
        Schema(inputs),
        Schema([*outputs, *(ColSpec(number, name) for name in QUANTILES)]),
        ParamSchema([ParamSpec("horizon", DataType.long, horizon)]),
    )
