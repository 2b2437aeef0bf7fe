"""OpenTelemetry traces of requests, sent by OTLP over HTTP, where the operator names a collector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

UNTRACED = "healthz,readyz,metrics,static,v1/live"
"""Routes without a trace: probes, files, and streams, which last as long as a page is open."""


class TracingError(ValueError):
    """Traces are asked for but the packages that send them are not installed."""


def install(app: FastAPI, endpoint: str) -> Any:
    """Trace every request of ``app`` and send the spans to ``endpoint`` (as ``http://127.0.0.1:4318/v1/traces``).

    Returns the provider, whose `shutdown` sends what is left. A trace that comes with a request (``traceparent``) is
    continued. Raises TracingError where the extra ``opentelemetry`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingError(
            f"setting otlp_endpoint is {endpoint!r}, but {error.name} is not installed; "
            "pip install 'metercast-platform[opentelemetry]', or leave the setting out"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "metercast"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls=UNTRACED)
    return provider


def around(provider: Any, name: str) -> Callable[[ASGIApp], ASGIApp]:
    """What puts a span of a name around each request of an application that `install` does not reach."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    def traced(inner: ASGIApp) -> ASGIApp:
        middleware: ASGIApp = OpenTelemetryMiddleware(
            inner,
            tracer_provider=provider,
            default_span_details=lambda scope: (name, {"http.route": scope["path"]}),
            exclude_spans=["receive", "send"],
        )
        return middleware

    return traced
