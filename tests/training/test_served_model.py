"""The registered model answers over HTTP, served by MLflow itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import pyfunc

from models.forecasters.markov import Markov
from models.panel import Panel
from tests.training.directories import with_store
from tests.training.test_promotion import HORIZON, _registered, _seasonal
from training.export import export_champion
from training.served_model import QUANTILES
from training.tracking import Tracking


def _rows(panel: Panel) -> pd.DataFrame:
    """A panel as the rows that a served model takes."""
    times = pd.to_datetime(panel.times_ns())
    return pd.DataFrame(
        {
            "series": np.repeat(np.asarray(panel.series), panel.windows),
            "timestamp": list(times) * len(panel.series),
            "value": panel.values.ravel(),
        }
    )


def test_mlflow_serves_the_champion(tmp_path: Path) -> None:
    """`mlflow models serve` of the alias answers with the quantiles that the forecaster itself gives."""
    panel, data = _seasonal(2), with_store(tmp_path / "data")
    tracking = Tracking(data)
    export_champion(tracking, _registered(tracking, "markov", panel, tmp_path), data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/metercast-forecaster@champion"]
    command += ["--env-manager", "local", "--port", str(port), "--workers", "1"]
    # MLflow starts uvicorn by name: this environment's, as where it is activated.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = os.environ | {"MLFLOW_TRACKING_URI": tracking.uri, "PATH": path}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        body = {"dataframe_split": json.loads(_rows(panel).to_json(orient="split", date_format="iso"))}
        del body["dataframe_split"]["index"]
        answer = _post(server, port, body | {"params": {"horizon": 3}}, tmp_path / "log")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    predictions = pd.DataFrame(answer["predictions"])
    assert list(predictions["step"]) == [1, 2, 3] * 2
    expected = Markov().fit(panel, HORIZON).quantiles(panel, 3)
    np.testing.assert_allclose(predictions[list(QUANTILES)].to_numpy().reshape(2, 3, -1), expected)


def test_the_signature_is_enforced(tmp_path: Path) -> None:
    """Rows without values or for no window ahead are refused; missing values and the trained horizon are fine."""
    panel, data = _seasonal(2), with_store(tmp_path / "data")
    tracking = Tracking(data)
    _registered(tracking, "markov", panel, tmp_path)
    model = pyfunc.load_model(str(tmp_path / "markov" / "model"))
    rows = _rows(panel)
    rows.loc[5, "value"] = float("nan")
    found = model.predict(rows)
    assert len(found) == 2 * HORIZON
    assert found["timestamp"].iloc[0] == pd.Timestamp(panel.time_of(panel.windows)).tz_localize(None)
    with pytest.raises(Exception, match="value"):
        model.predict(rows.drop(columns="value"))
    with pytest.raises(ValueError, match="at least 1 window"):
        model.predict(rows, params={"horizon": -1})


def _post(server: subprocess.Popen[bytes], port: int, body: object, log: Path) -> dict[str, list[dict[str, object]]]:
    """The answer, once the server is up."""
    sent = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", sent, headers)
    until = time.monotonic() + 200
    while True:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer: dict[str, list[dict[str, object]]] = json.loads(response.read())
                return answer
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)
