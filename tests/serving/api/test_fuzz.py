"""Every route of the running server answers what schemathesis thinks of with an answer or a problem, never with 500."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings

from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.conftest import PLANS

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = int(os.environ.get("METERCAST_FUZZ_EXAMPLES", "3"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The reference of a server on a port of its own; streams, which never end, are left out."""
    data: Path = tmp_path_factory.mktemp("fuzz")
    app = create_app(Settings(data=data, plans=PLANS, windows_s=(1, 10, 3600), requests_per_minute=10**6))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    found = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    yield found.exclude(path_regex="/v1/live").exclude(path="/v1/events")
    server.should_exit = True
    thread.join(10)


def test_no_request_makes_the_server_fail(reference: Any) -> None:
    """Nonsense in paths, queries and bodies is refused with a reason."""
    operations = [found.ok() for found in reference.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call(timeout=60)
            assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text)

        ask()
