"""Errors as problem details (RFC 9457): what happened, the value seen, what is allowed, what to do next."""

from __future__ import annotations

import http
import logging
import sqlite3
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from features.database import DatabaseError

MEDIA_TYPE = "application/problem+json"
_logger = logging.getLogger(__name__)


class ProblemError(Exception):
    """Raised by routes; becomes the response."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def problem(request: Request, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """The response of one problem: a page for a browser that asked for one, else problem details."""
    if _for_a_reader(request):
        from serving.dashboard.rendering import show

        if status == 401 and request.method == "GET":
            return RedirectResponse(f"/login?{urlencode({'next': str(request.url.path)})}", 303)
        title = http.HTTPStatus(status).phrase
        return show("problem.html", {"title": title, "detail": detail, "status": status}, status)
    return JSONResponse(document(request.url.path, status, detail, **more), status, headers, media_type=MEDIA_TYPE)


def document(path: str, status: int, detail: str, **more: Any) -> dict[str, Any]:
    """Problem details of a request to a path."""
    title = http.HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path, **more}


def unexpected(request: Request, error: Exception) -> Response:
    """The response of an error that nobody foresaw; the log gets the whole of it, the caller nothing.

    A database that is away or cannot write (disk full) is 503: the same request may do later.
    """
    found = unforeseen(request.url.path, error)
    return problem(request, found.status, found.detail, found.headers)


def unforeseen(path: str, error: BaseException) -> ProblemError:
    """Logs an error that nobody foresaw, and what the caller is told."""
    _logger.exception("request %s failed", path, exc_info=error)
    if isinstance(error, (DatabaseError, sqlite3.OperationalError)):
        detail = "the database cannot be reached or written; the server's log says why; try again"
        return ProblemError(503, detail, {"Retry-After": "5"})
    return ProblemError(500, "the server failed on this request; its log says why")


def _for_a_reader(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def install(app: FastAPI) -> None:
    """Make every foreseen error of an application a problem; `RequestFrame` answers the others."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> Response:
        return problem(request, error.status, error.detail, error.headers, **error.more)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return problem(request, error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"at": ".".join(str(step) for step in one["loc"]), "message": one["msg"], "found": repr(one["input"])[:80]}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['at']}: {one['message']}" for one in errors)
        return problem(request, 422, detail, errors=errors)
