"""Signing in with a key and out again: the browser keeps a signed cookie, never the key."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from serving.access.sessions import COOKIE, LIFETIME_S
from serving.api.dependencies import PlatformDependency
from serving.api.security import Caller, refuse_foreign
from serving.dashboard.rendering import show

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(next: str = "/") -> Response:
    """The form."""
    return show("login.html", {"next": _own(next), "refused": False})


@router.post("/login")
def login(
    request: Request,
    platform: PlatformDependency,
    key: Annotated[str, Form(max_length=200)],
    next: Annotated[str, Form(max_length=2_000)] = "/",
) -> Response:
    """Check the key and begin a session."""
    refuse_foreign(request)
    found = platform.keys.check(key.strip())
    if found is None:
        return show("login.html", {"next": _own(next), "refused": True}, 401)
    answer = RedirectResponse(_own(next), 303)
    secure = request.url.scheme == "https"
    cookie = platform.sessions.begin(found.id)
    answer.set_cookie(COOKIE, cookie, max_age=LIFETIME_S, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/logout")
def logout(_principal: Caller) -> Response:
    """Forget the session."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _own(address: str) -> str:
    """An address of this server only: a link from elsewhere must not lead a fresh session away."""
    parts = urlsplit(address)
    safe = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in address
    return address if safe and not address.startswith("//") else "/"
