"""Keys, scopes, tenants, sessions and forged requests."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.access.principal import SCOPES

Bearer = dict[str, str]


def bearer(text: str) -> Bearer:
    """The header of a key."""
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def keyed(client: TestClient, feed: Any) -> tuple[TestClient, Bearer, Bearer, Bearer]:
    """A server with usage of two tenants and keys of the vendor, of acme and of globex."""
    feed(client)
    admin = bearer(client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()["key"])
    tenants = []
    for tenant in ("acme", "globex"):
        body = {"name": tenant, "scopes": ["events:write", "usage:read", "estimates:read"], "tenant": tenant}
        tenants.append(bearer(client.post("/v1/keys", json=body, headers=admin).json()["key"]))
    return client, admin, *tenants


def test_first_key_closes_the_server(keyed: Any) -> None:
    """Once a key exists nobody gets in without one, or with a wrong one."""
    client, admin, _, _ = keyed
    assert client.get("/v1/usage").status_code == 401
    assert client.get("/v1/usage").headers["www-authenticate"].startswith("Bearer")
    wrong = admin["Authorization"][:-1] + ("0" if admin["Authorization"][-1] != "0" else "1")
    assert client.get("/v1/usage", headers={"Authorization": wrong}).status_code == 401
    assert client.get("/v1/usage", headers=admin).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_no_route_without_a_key(keyed: Any) -> None:
    """Every route of the API but health answers 401 without a key."""
    client, *_ = keyed
    for path, methods in client.app.openapi()["paths"].items():
        for method in methods:
            if path in ("/healthz", "/readyz"):
                continue
            answer = client.request(method.upper(), path.replace("{", "").replace("}", ""), json={})
            assert answer.status_code == 401, (method, path, answer.text)


def test_no_tenant_sees_another(keyed: Any) -> None:
    """With acme's key no reading route names globex, filtered or not, whatever the form."""
    client, _, acme, _ = keyed
    paths = [path for path, methods in client.app.openapi()["paths"].items() if "get" in methods and "{" not in path]
    for path in paths:
        if path == "/v1/live":
            continue
        for query in ("", "?user=acme", "?user=globex", "?user=acme&user=globex"):
            answer = client.get(path + query, headers=acme)
            assert answer.status_code in (200, 403, 404, 409, 422), (path, query, answer.text)
            said = answer.text.replace("'globex'", "") if answer.status_code == 404 else answer.text
            assert "globex" not in said, (path, query, said[:300])
    other = client.post("/v1/estimates", json={"user": "globex"}, headers=acme)
    unknown = client.post("/v1/estimates", json={"user": "nobody"}, headers=acme)
    assert other.status_code == unknown.status_code == 404
    assert other.json()["detail"].replace("globex", "nobody") == unknown.json()["detail"]


def test_tenant_meters_itself_only(keyed: Any, feed: Any) -> None:
    """Events of another user are refused as a whole and nothing of them is kept."""
    client, admin, acme, _ = keyed
    before = client.get("/v1/operations", headers=admin).json()
    from tests.serving.conftest import some_usage

    body = {"producer": "evil", "epoch": 1, "sequence": 1, "events": some_usage(("acme", "globex"), 2)}
    kind = {"Content-Type": "application/vnd.metercast.batch+json"}
    assert client.post("/v1/events", json=body, headers=acme | kind).status_code == 403
    assert client.get("/v1/operations", headers=admin).json() == before


@pytest.mark.parametrize("scope", SCOPES)
def test_scopes_open_their_own_routes_only(keyed: Any, scope: str) -> None:
    """A key with one scope is refused where another is needed."""
    client, admin, _, _ = keyed
    text = client.post("/v1/keys", json={"name": "one", "scopes": [scope]}, headers=admin).json()["key"]
    opened = {
        "usage:read": client.get("/v1/usage", headers=bearer(text)).status_code != 403,
        "estimates:read": client.get("/v1/plans", headers=bearer(text)).status_code != 403,
        "events:write": client.post("/v1/events", content=b"", headers=bearer(text)).status_code != 403,
        "admin": client.get("/v1/keys", headers=bearer(text)).status_code != 403,
    }
    assert all(is_open == (name == scope or scope == "admin") for name, is_open in opened.items()), opened


def test_rotation_overlaps_and_revocation_does_not(keyed: Any) -> None:
    """Both keys work during the overlap; a revoked key stops at once, and its rights are written nowhere but here."""
    client, admin, _, _ = keyed
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["usage:read"]}, headers=admin).json()
    fresh = client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 3600}, headers=admin).json()
    for text in (made["key"], fresh["key"]):
        assert client.get("/v1/usage", headers=bearer(text)).status_code == 200
    assert client.delete(f"/v1/keys/{made['id']}", headers=admin).status_code == 204
    assert client.get("/v1/usage", headers=bearer(made["key"])).status_code == 401
    assert client.get("/v1/usage", headers=bearer(fresh["key"])).status_code == 200
    acts = [act["act"] for act in client.get("/v1/audit", headers=admin).json()["acts"]]
    assert acts[:3] == ["key.revoke", "key.rotate", "key.create"]


def test_secrets_are_not_kept(keyed: Any, settings: Any) -> None:
    """No file of the data directory holds the text of a key."""
    _, admin, _, _ = keyed
    secret = admin["Authorization"].rpartition("_")[2].encode()
    for path in settings.data.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path


def test_other_sites_cannot_act_through_a_browser(client: TestClient) -> None:
    """Without keys: a foreign origin, a cross-site request and a foreign Host are refused."""
    body = {"name": "x", "scopes": ["admin"]}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert client.post("/v1/keys", json=body, headers=headers).status_code == 403
    assert client.get("/v1/keys", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/v1/keys").json() == {"keys": []}


def test_failures_are_logged_once_and_answered_like_all_else(
    client: TestClient, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is gone: the caller is told to come again, with the headers of every answer, and nothing else."""
    with sqlite3.connect(settings.database) as connection:
        connection.execute("DROP TABLE budgets")
    answer = client.get("/v1/budgets", headers={"X-Request-Id": "a-request"})
    assert answer.status_code == 503
    assert answer.json()["title"] == "Service Unavailable"
    assert "budgets" not in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["x-request-id"] == "a-request"
    assert "content-security-policy" in answer.headers
    told = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in told] == ["request /v1/budgets failed"]


def test_too_many_requests_wait(settings: Any) -> None:
    """Beyond the limit the answer is 429 with the seconds to wait."""
    from serving.api.app import create_app

    with TestClient(create_app(settings.model_copy(update={"requests_per_minute": 5}))) as client:
        statuses = [client.get("/v1/plans").status_code for _ in range(7)]
        answer = client.get("/v1/plans")
        assert client.post("/v1/events", json=[]).status_code == 202, "what was metered must get in"
    assert statuses == [200] * 5 + [429] * 2
    assert int(answer.headers["retry-after"]) >= 1
