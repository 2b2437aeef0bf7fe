"""The committed OpenAPI document is what the server serves, and its examples work."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from serving.api.reference import FILE, text


def test_committed_document_is_the_served_one(client: TestClient) -> None:
    """After a change of a route: python -m serving.api.reference."""
    assert FILE.read_text(encoding="utf-8") == text(client.get("/openapi.json").json())


def test_examples_of_bodies_work(client: TestClient, feed: Any) -> None:
    """Every example in the document is accepted when it is sent."""
    feed(client)
    served = client.get("/openapi.json").json()
    admin = client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()["key"]
    client.headers["Authorization"] = f"Bearer {admin}"
    sent = 0
    for path, methods in served["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            for example in served["components"]["schemas"].get(name, {}).get("examples", []):
                answer = client.request(method.upper(), path.replace("{user}", "acme"), json=example)
                assert answer.status_code in (200, 201, 204, 409), (path, answer.text)
                sent += 1
    assert sent >= 3
