"""Traces reach a real collector on a socket, and a missing package is said at the start."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.tracing import TracingError

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(BaseHTTPRequestHandler):
    """Keeps the bodies it is sent."""

    bodies: list[bytes] = []  # noqa: RUF012 -- made anew by the test

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


def test_requests_are_traced_within_the_callers_trace(settings: Any) -> None:
    """A span of the request arrives, under the trace that came with it; probes leave none."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra opentelemetry is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    Collector.bodies = []
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with TestClient(create_app(settings.model_copy(update={"otlp_endpoint": endpoint}))) as client:
            parent = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01"}
            client.get("/v1/plans", headers=parent)
            assert client.post("/v1/events", json=[], headers=parent).status_code == 202
            client.get("/healthz")
        server.shutdown()
    sent = [ExportTraceServiceRequest.FromString(body) for body in Collector.bodies]
    spans = [span for one in sent for part in one.resource_spans for scope in part.scope_spans for span in scope.spans]
    assert {span.name for span in spans if span.trace_id.hex() == PARENT} >= {"GET /v1/plans", "POST /v1/events"}
    assert not any("healthz" in span.name for span in spans)


def test_missing_packages_are_named_at_the_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which setting asks for them and what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    with pytest.raises(TracingError, match=r"otlp_endpoint.*pip install"):
        create_app(settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9/v1/traces"}))
