"""Every route of the running server answers what schemathesis thinks of with an answer or a problem, never with 500.

It is asked with the keys of two tenants in turn, and no answer holds anything of the other's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings

from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.conftest import PLANS, some_usage

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = int(os.environ.get("METERCAST_FUZZ_EXAMPLES", "3"))


TENANTS = ("zq7acme", "zq7globex")
SCOPES = ["events:write", "usage:read", "estimates:read"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a port of its own."""
    data: Path = tmp_path_factory.mktemp("fuzz")
    app = create_app(Settings(data=data, plans=PLANS, windows_s=(1, 10, 3600), requests_per_minute=10**6))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def reference(url: str) -> Any:
    """The reference of the server; streams, which never end, are left out."""
    found = schemathesis.openapi.from_url(f"{url}/openapi.json")
    return found.exclude(path_regex="/v1/live").exclude(path="/v1/events")


@pytest.fixture(scope="module")
def keys(url: str) -> dict[str, dict[str, str]]:
    """Headers of an administrator and of two tenants, each of which has used something."""
    events = [one for tenant in TENANTS for one in some_usage((tenant,), 5)]
    assert httpx.post(f"{url}/v1/events", json=events).status_code == 202

    def key(name: str, scopes: list[str], tenant: str | None, headers: dict[str, str]) -> dict[str, str]:
        body = {"name": name, "scopes": scopes} | ({"tenant": tenant} if tenant else {})
        answer = httpx.post(f"{url}/v1/keys", json=body, headers=headers)
        return {"Authorization": f"Bearer {answer.json()['key']}"}

    admin = key("root", ["admin"], None, {})
    return {"admin": admin} | {tenant: key(tenant, SCOPES, tenant, admin) for tenant in TENANTS}


def test_no_request_makes_the_server_fail_or_tell_of_others(reference: Any, keys: dict[str, dict[str, str]]) -> None:
    """Nonsense in paths, queries and bodies is refused with a reason; a tenant never reads another's name."""
    operations = [found.ok() for found in reference.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            for whose, headers in keys.items():
                answer = case.call(timeout=60, headers=headers)
                assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text)
                others = [tenant for tenant in TENANTS if whose in TENANTS and tenant != whose]
                assert not any(tenant in answer.text for tenant in others), (case.method, case.path, answer.text)

        ask()
