"""The short way in for events: POST /v1/events past routing and dependencies, which cost more than a small batch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.events import post_events
from serving.api.middleware import RequestFrame, Requests
from serving.api.problems import ProblemError, problem, unexpected
from serving.api.security import INGEST

_ROUTE = SimpleNamespace(path=INGEST)
"""Names the route in logs and counts, as routing would."""


class Application(FastAPI):
    """FastAPI with a door of its own for events; the route of the same path describes it in the API's reference."""

    is_traced = False
    """Whether requests leave traces; then no request takes a way past ASGI."""

    def open_door(self, requests: Requests, traced: Callable[[ASGIApp], ASGIApp] | None = None) -> None:
        """Let events in; ``requests`` counts them, ``traced`` puts a trace around each."""
        door: ASGIApp = RequestFrame(_take_in, requests)
        self.is_traced = traced is not None
        self._door = traced(door) if traced else door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == INGEST and scope["method"] == "POST":
            scope["app"], scope["route"] = self, _ROUTE
            await self._door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _take_in(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    try:
        response = await post_events(request)
    except ProblemError as error:
        response = problem(request, error.status, error.detail, error.headers, **error.more)
    except ClientDisconnect:  # whoever sent this is gone, and nobody waits for an answer
        return
    except Exception as error:
        response = unexpected(request, error)
    await response(scope, receive, send)
