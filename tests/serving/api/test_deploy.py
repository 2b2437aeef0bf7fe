"""What operators take from configs/deploy works with what a server tells, and a backup is a whole server."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.commands.backup import backup, restore
from tests.postgresql import Server

DEPLOY = Path(__file__).parents[3] / "configs" / "deploy"


def test_dashboard_asks_for_metrics_that_exist(client: TestClient) -> None:
    """Every metric named in the Grafana dashboard is on /metrics."""
    client.get("/v1/plans")
    served = set(re.findall(r"^(metercast_\w+)", client.get("/metrics").text, re.MULTILINE))
    asked = set(re.findall(r"metercast_\w+", (DEPLOY / "grafana-dashboard.json").read_text()))
    assert asked - {"metercast"} <= served


def test_backup_of_a_running_server_is_restored_whole(
    client: TestClient, feed: Any, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage, keys and spend are the same after a restore into a new directory; nothing is overwritten."""
    feed(client)
    admin = client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()["key"]
    headers = {"Authorization": f"Bearer {admin}"}
    spent = client.get("/v1/spend", params={"user": "acme"}, headers=headers).json()
    file, data = tmp_path / "backup.tar.gz", tmp_path / "restored"
    assert backup([str(file), "--data", str(settings.data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size_bytes"] == file.stat().st_size
    assert backup([str(file), "--data", str(settings.data)]) == 2
    assert restore([str(file), "--data", str(settings.data)]) == 2
    assert restore([str(file), "--data", str(data)]) == 0
    with TestClient(create_app(settings.model_copy(update={"data": data}))) as other:
        assert other.get("/v1/spend", params={"user": "acme"}, headers=headers).json() == spent


def test_restore_refuses_what_is_no_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file, and exit code 2."""
    file = tmp_path / "broken.tar.gz"
    file.write_bytes(b"not a backup")
    assert restore([str(file), "--data", str(tmp_path / "data")]) == 2
    assert "broken.tar.gz" in capsys.readouterr().err


def test_backup_of_a_server_is_restored_into_an_empty_one(
    settings: Any,
    feed: Any,
    postgresql_server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that is in a PostgreSQL database is the same in another, which has to be empty."""
    monkeypatch.setenv("PATH", f"{postgresql_server.tools()}{os.pathsep}{os.environ['PATH']}")
    url, other = postgresql_server.database(), postgresql_server.database()
    file, data = tmp_path / "backup.tar.gz", tmp_path / "restored"
    given = settings.model_copy(update={"database_url": url})
    with TestClient(create_app(given)) as client:
        feed(client)
        spent = client.get("/v1/spend", params={"user": "acme"}).json()
        assert backup([str(file), "--data", str(settings.data), "--database-url", url, "--json"]) == 0
        held = json.loads(capsys.readouterr().out)
        assert held["batches"] == 1
        assert restore([str(file), "--data", str(data)]) == 2  # without a server to restore it to
        assert restore([str(file), "--data", str(data), "--database-url", url]) == 1  # which is not empty
        assert "restore into a new, empty one" in capsys.readouterr().err
    assert restore([str(file), "--data", str(data), "--database-url", other, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == held["events"]
    with TestClient(create_app(given.model_copy(update={"data": data, "database_url": other}))) as client:
        assert client.get("/v1/spend", params={"user": "acme"}).json() == spent
