"""Bundles load and forecast where nothing of what trained them is installed, as on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from models.bundle import save
from models.forecasters.registry import FORECASTERS
from tests.models.forecasters.test_conformance import CONFIG, HORIZON, make_panel
from training.fit import fit_forecaster

ROOT = Path(__file__).parents[3]
TRAINING_ONLY = ("lightning", "pytorch_lightning", "mlflow", "optuna", "training")

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
sys.modules.update(dict.fromkeys({missing}))  # importing any of them raises ImportError
from models.bundle import load
from models.panel import Panel
directory = Path({directory!r})
names = json.loads((directory / "names.json").read_text())
panel = Panel(*map(tuple, names), np.load(directory / "values.npy"), 0, 3_600_000_000_000, 12)
told = {{}}
for path in directory.glob("*/bundle.json"):
    forecast = load(path.parent)[0].forecast(panel, {horizon})
    told[path.parent.name] = [float(forecast.steps.sum()), float(forecast.totals.sum())]
print(json.dumps(told))
"""


def test_bundles_forecast_without_the_training_libraries(tmp_path: Path) -> None:
    """Each model of the registry gives the same forecast as where it was trained."""
    panel, expected = make_panel(), {}
    for name in FORECASTERS:
        fitted = fit_forecaster(name, panel, HORIZON, CONFIG)
        save(fitted, tmp_path / name, {})
        forecast = fitted.forecast(panel, HORIZON)
        expected[name] = [forecast.steps.sum(), forecast.totals.sum()]
    np.save(tmp_path / "values.npy", panel.values)
    (tmp_path / "names.json").write_text(json.dumps([panel.series, panel.tenants, panel.resources]))
    program = PROGRAM.format(missing=TRAINING_ONLY, directory=str(tmp_path), horizon=HORIZON)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == expected.keys()
    for name, sums in expected.items():
        np.testing.assert_allclose(found[name], sums, rtol=1e-6)
