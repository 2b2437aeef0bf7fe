"""Every page, as HTML and as JSON, empty and full."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.dashboard.rendering import PAGES

PATHS = [path for path, _ in PAGES]
READER = {"Accept": "text/html"}


def period() -> dict[str, str]:
    """A period around now that is short enough to be forecast from half a minute."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {"start": (now - timedelta(minutes=1)).isoformat(), "end": (now + timedelta(minutes=2)).isoformat()}


@pytest.mark.parametrize("path", PATHS)
def test_page_without_usage_says_what_to_do_first(client: TestClient, path: str) -> None:
    """An empty server shows pages, not errors."""
    page = client.get(path, headers=READER)
    assert page.status_code == 200
    assert "<h1" in page.text


@pytest.mark.parametrize("path", PATHS)
def test_page_is_html_and_json(client: TestClient, feed: Any, path: str) -> None:
    """The same address answers a browser and a program; the page needs nothing from elsewhere."""
    feed(client)
    page = client.get(path, params=period(), headers=READER)
    assert page.status_code == 200, page.text[:500]
    assert not re.findall(r'(?:src|href|action)="(?!/|#)[^"]*"', page.text)
    document = client.get(path, params=period(), headers={"Accept": "application/json"}).json()
    assert document["user"] == "acme"
    assert document.keys() == client.get(path, params=period() | {"format": "json"}).json().keys()


def test_spend_page_tells_the_numbers_of_the_estimate(client: TestClient, feed: Any) -> None:
    """The sentence, the chart and the JSON agree on the median."""
    feed(client)
    asked = period()
    for _ in range(5):  # a window may close between the two
        document = client.get("/", params=asked | {"format": "json"}).json()
        page = client.get("/", params=asked, headers=READER).text
        median = document["estimate"]["estimates"][0]["quantiles"]["0.5"]
        if f"{float(median):,.2f}" in page:
            break
    assert f"{float(median):,.2f}" in page
    assert 'class="band"' in page


def test_too_little_history_is_refused_with_the_spend(client: TestClient, feed: Any) -> None:
    """Without enough windows there is no fan, but the reason and what was spent so far."""
    from tests.serving.conftest import some_usage

    feed(client, some_usage(seconds=3))
    page = client.get("/", headers=READER).text
    assert "No forecast yet" in page
    assert 'class="band"' not in page


def test_what_if_moves_the_bill(client: TestClient, feed: Any) -> None:
    """Twice the usage to come makes the bill larger under a price per use."""
    feed(client)
    asked = period() | {"format": "json", "compare": ["micro-operations", "per-request"]}
    bills = [client.get("/plans", params=asked | {"factor": factor}).json()["bills"][0] for factor in (0.5, 1, 8)]
    expected = [float(bill["expected"]) for bill in bills]
    assert expected == sorted(expected)
    assert expected[0] < expected[2]


def test_browser_signs_in_with_a_key_and_forms_need_their_token(client: TestClient, feed: Any) -> None:
    """A session opens the pages; a form without its token is refused; a customer sees itself and no settings."""
    feed(client)
    admin = client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()["key"]
    assert client.get("/", headers=READER, follow_redirects=False).headers["location"].startswith("/login")
    assert client.post("/login", data={"key": "mc_wrong_key"}).status_code == 401
    answer = client.post("/login", data={"key": admin, "next": "//evil.example/"}, follow_redirects=False)
    assert answer.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}
    form = {"name": "acme", "scope": ["usage:read", "estimates:read"], "tenant": "acme"}
    assert client.post("/settings/keys", data=form).status_code == 403
    token = re.search(r'name="csrf" value="(\w+)"', client.get("/settings", headers=READER).text)
    assert token is not None
    made = client.post("/settings/keys", data=form | {"csrf": token[1]}, headers=READER).text
    key = re.search(r"mc_\w+", made)
    assert key is not None
    client.post("/logout", data={"csrf": token[1]})
    client.post("/login", data={"key": key[0]})
    page = client.get("/", headers=READER).text
    assert "acme" in page
    assert "globex" not in page
    assert client.get("/settings", headers=READER).status_code == 403
    assert client.get("/?user=globex", headers=READER).status_code == 404


def test_keys_are_rotated_on_the_page(client: TestClient) -> None:
    """The new key is shown once and opens what the old one did, which goes on for a day."""
    admin = client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()
    client.post("/login", data={"key": admin["key"]})
    page = client.get("/settings", headers=READER).text
    token = re.search(r'name="csrf" value="(\w+)"', page)
    assert token is not None
    path = f"/settings/keys/{admin['id']}/rotate"
    assert path in page
    assert client.post(path).status_code == 403
    made = client.post(path, data={"csrf": token[1]}, headers=READER).text
    key = re.search(r"mc_\w+", made)
    assert key is not None
    assert key[0] not in client.get("/settings", headers=READER).text
    client.cookies.clear()
    for text in (key[0], admin["key"]):
        keys = client.get("/v1/keys", headers={"Authorization": f"Bearer {text}"}).json()["keys"]
    assert [one["expires"] is None for one in keys] == [False, True]


def test_reference_lists_every_route(client: TestClient) -> None:
    """The page of the API names each route of the OpenAPI document."""
    page = client.get("/docs", headers=READER).text
    for path, methods in client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        for method in methods:
            assert f"{method.upper()} {path}" in page


def test_names_are_escaped(client: TestClient, feed: Any) -> None:
    """A user or operation named like markup is shown as text on every page."""
    from tests.serving.conftest import some_usage

    name = "<script>alert(1)</script>"
    feed(client, [one | {"userID": name, "operationID": name} for one in some_usage(("acme",))])
    for path in PATHS:
        assert "<script>alert" not in client.get(path, params=period(), headers=READER).text


def test_budget_shows_on_the_page(client: TestClient, feed: Any) -> None:
    """A budget set through the API is drawn and its chance of being exceeded told."""
    feed(client)
    set_to = client.put("/v1/budgets/acme", json={"amount": "1.50"})
    assert set_to.status_code == 200
    stale = client.put("/v1/budgets/acme", json={"amount": "2"}, headers={"If-Match": '"other"'})
    assert stale.status_code == 412
    page = client.get("/", params=period(), headers=READER).text
    assert "budget of 1.50" in page
    client.post("/settings/budgets", data={"customer": "acme", "amount": "3.25"})
    assert client.get("/v1/budgets/acme").json()["amount"] == "3.25"
    client.post("/settings/budgets/remove", data={"customer": "acme"})
    assert client.get("/v1/budgets/acme").status_code == 404
