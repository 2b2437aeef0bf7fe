"""No answer across tenants: every route of the reference is asked with one tenant's key for another's things.

What is another's carries a mark that nothing else has. A route that is new, and whose parameters or body are not known
here, fails the test until somebody says what a stranger might ask of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from features.sqlite_log import connect
from serving.alerts.anomaly import Anomaly
from serving.alerts.store import write
from serving.api.app import create_app
from tests.serving.api.test_commerce import timed
from tests.serving.conftest import PLANS, event, some_usage

MARK = "zq7"
OTHER, OWN = "globex", "acme"
SCOPES = ["events:write", "usage:read", "estimates:read"]
REFUSED = {401, 403, 404, 405, 409, 415, 422}
STREAMS = {"/v1/live"}
"""Tested with real sockets in test_streams."""

Things = dict[str, str]


def _iso(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def bodies(things: Things) -> dict[tuple[str, str], Any]:
    """What a stranger might send to every route that takes a body, naming the other tenant wherever it can."""
    span = {"start": _iso(-120), "end": _iso(-60)}
    return {
        ("POST", "/v1/events"): [event(OTHER, f"{MARK}-forged", "CPU_INSTRUCTION", time.time(), cpuCycles=1)],
        ("POST", "/v1/anomalies/{anomaly_id}/feedback"): {"verdict": "wrong"},
        ("PUT", "/v1/budgets/{user}"): {"amount": "1.00"},
        ("PUT", "/v1/customers/{user}"): {"maximum_factor": "3"},
        ("POST", "/v1/customers/{user}/credits"): {"id": "free", "amount": "5"},
        ("POST", "/v1/estimates"): {"user": OTHER},
        ("POST", "/v1/estimates/backtest"): {"user": OTHER, "periods": 1},
        ("POST", "/v1/estimates/compare"): {"before": "micro-operations", "after": "per-request", "user": OTHER},
        ("POST", "/v1/invoices"): {"user": OTHER, **span},
        ("POST", "/v1/keys"): {"name": "mine", "scopes": ["admin"]},
        ("POST", "/v1/keys/{key_id}/rotate"): {"overlap_s": 0},
        ("POST", "/v1/planned-events"): {"user": OTHER, "start": _iso(1), "end": _iso(2)},
        ("POST", "/v1/plans"): {"yaml": timed(2, "9", _iso(60))},
        ("PUT", "/v1/prices/signals/{name}"): {"value": "9"},
        ("POST", "/v1/quotes"): {"user": OTHER, "plan": "timed"},
        ("POST", "/v1/quotes/redeem"): {"token": things["token"]},
        ("POST", "/v1/retractions"): {"user": OTHER, "reason": "to pay less", "dry_run": True},
        ("POST", "/v1/webhooks"): {"url": "https://127.0.0.1/hook"},
    }


@pytest.fixture
def world(
    settings: Any, tmp_path: Any, feed: Any
) -> Iterator[tuple[TestClient, dict[str, str], dict[str, str], Things]]:
    """A server where the other tenant has one of everything: client, headers of the vendor and of a stranger, ids."""
    plans = tmp_path / "plans"
    plans.mkdir()
    for path in PLANS.glob("*.yaml"):
        (plans / path.name).write_text(path.read_text())
    (plans / "timed.yaml").write_text(timed())
    with TestClient(create_app(settings.model_copy(update={"plans": plans})), raise_server_exceptions=False) as client:
        usage = [one | {"operationID": f"{MARK}-{one['operationID']}"} for one in some_usage((OTHER,))]
        feed(client, some_usage((OWN,)) + usage)
        admin = {"Authorization": f"Bearer {_made(client.post('/v1/keys', json=_key('root', ['admin'])))['key']}"}
        own = _made(client.post("/v1/keys", json=_key("own", SCOPES, OWN), headers=admin))["key"]
        yield client, admin, {"Authorization": f"Bearer {own}"}, _others(client, admin, settings)


def _key(name: str, scopes: list[str], tenant: str | None = None) -> dict[str, Any]:
    return {"name": name, "scopes": scopes} | ({"tenant": tenant} if tenant else {})


def _made(answer: Any) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


def _others(client: TestClient, admin: dict[str, str], settings: Any) -> Things:
    """One of everything for the other tenant; the values of path parameters by their names."""

    def make(method: str, path: str, body: Any, headers: dict[str, str] = admin) -> dict[str, Any]:
        return _made(client.request(method, path, json=body, headers=headers))

    key = make("POST", "/v1/keys", _key(MARK, SCOPES, OTHER))
    theirs = {"Authorization": f"Bearer {key['key']}"}
    make("PUT", f"/v1/budgets/{OTHER}", {"amount": "77.77"})
    make("PUT", f"/v1/customers/{OTHER}", {"maximum_factor": "1.7777"}, theirs)
    make("POST", f"/v1/customers/{OTHER}/credits", {"id": MARK, "amount": "7"})
    note = {"user": OTHER, "start": _iso(5), "end": _iso(6), "note": MARK}
    span = {"start": _iso(-30), "end": _iso(-20)}
    found = Anomaly(
        "a77", OTHER, f"{MARK}-checkout", "WAIT", "execution_time_ms", time.time_ns(), time.time_ns(), None,
        9.0, 8.0, (1.0, 2.0, 3.0),
    )  # fmt: skip
    connection = connect(settings.database)
    write(connection, found)
    connection.close()
    hook = client.app.state.platform.commerce.webhooks.add("", f"http://127.0.0.1:9/{MARK}", ("webhook.test",))  # type: ignore[attr-defined]
    return {
        "user": OTHER,
        "key_id": key["id"],
        "anomaly_id": found.id,
        "event_id": make("POST", "/v1/planned-events", note, theirs)["id"],
        "number": make("POST", "/v1/invoices", {"user": OTHER, **span})["number"],
        "webhook_id": hook.id,
        "token": make("POST", "/v1/quotes", {"user": OTHER, "plan": "timed"}, theirs)["token"],
        "plan_id": "timed",
        "name": "spot",
    }


def _snapshot(client: TestClient, admin: dict[str, str]) -> dict[str, Any]:
    """What of the other tenant must still be as it was."""
    paths = [
        *(f"/v1/budgets/{OTHER}", f"/v1/customers/{OTHER}", f"/v1/invoices/issued?user={OTHER}"),
        *(f"/v1/planned-events?user={OTHER}", f"/v1/operations?user={OTHER}", "/v1/plans/timed/versions"),
        *(f"/v1/anomalies?user={OTHER}", "/v1/webhooks"),
    ]
    return {path: client.get(path, headers=admin).json() for path in paths}


def test_no_route_answers_for_another_tenant(world: Any) -> None:
    """Reads show nothing of the other, writes change nothing of it, on every route that there is."""
    client, admin, own, things = world
    before, sent = _snapshot(client, admin), bodies(things)
    keys_before = len(client.get("/v1/keys", headers=admin).json()["keys"])
    for path, methods in client.app.openapi()["paths"].items():
        if path in STREAMS:
            continue
        for method, operation in methods.items():
            route = (method.upper(), path)
            if "requestBody" in operation:
                assert route in sent, f"{route} takes a body that this test does not know; say what a stranger sends"
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert set(names) <= set(things), f"{route} has parameters that this test does not know: {names}"
            asked = path.format_map(things)
            for query in ({}, {"user": OTHER}):
                answer = client.request(route[0], asked, params=query, json=sent.get(route), headers=own)
                assert answer.status_code < 500, (route, answer.text)
                said = answer.text.replace(json.dumps(sent.get(route)), "").replace(f"'{asked}'", "")
                for one in things.values():
                    said = said.replace(f"'{one}'", "")  # a refusal may repeat what was asked for
                assert MARK not in said, (route, query, said[:300])
                if path.startswith("/v1") and OTHER in asked:
                    assert answer.status_code in REFUSED, (route, answer.status_code, answer.text[:300])
    assert _snapshot(client, admin) == before
    keys = client.get("/v1/keys", headers=admin).json()["keys"]
    assert len(keys) == keys_before
    assert all(one["live"] for one in keys)


def test_every_body_is_understood_by_its_own_tenant(world: Any) -> None:
    """What strangers are refused is well formed: with the vendor's key it is not refused for its form."""
    client, admin, _, things = world
    for (method, path), body in bodies(things).items():
        answer = client.request(method, path.format_map(things), json=body, headers=admin)
        assert answer.status_code != 422, (method, path, answer.text)


def test_pages_show_nothing_of_another_tenant(world: Any) -> None:
    """The pages of the dashboard with the stranger's key, as HTML and as JSON, asked for the other or for itself."""
    client, _, own, _ = world
    for path in ("/", "/operations", "/anomalies", "/plans", "/live", "/models", "/settings"):
        for query in ({}, {"user": OTHER}):
            for form in ("text/html", "application/json"):
                answer = client.get(path, params=query, headers=own | {"Accept": form})
                assert answer.status_code in (200, 403, 404), (path, answer.text[:200])
                assert MARK not in answer.text, (path, query)
                assert query == {} or answer.status_code != 200
