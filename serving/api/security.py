"""Who asks, and may they: bearer keys, dashboard sessions, scopes, tenants, and the limit on requests."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from serving.access.keys import Key
from serving.access.principal import LOCAL, Principal
from serving.access.sessions import COOKIE, Session
from serving.api.dependencies import platform_of
from serving.api.problems import ProblemError
from serving.platform import Platform

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="metercast"'}
INGEST = "/v1/events"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_bearer = HTTPBearer(auto_error=False, description="An API key, `mc_...`; needed once any key exists.")


async def caller(request: Request, _shown: Annotated[object, Depends(_bearer)] = None) -> Principal:
    """Whoever asks; raises a 401 problem when keys exist and none is given, 403 for a request forged by another site.

    A server without keys listens on loopback only and takes everyone there as its owner.
    """
    platform = platform_of(request)
    principal, session = await _identify(request, platform)
    if principal.tenant is not None:
        principal = replace(principal, tenant=platform.privacy.seen_as(principal.tenant))
    if request.method not in SAFE and "authorization" not in request.headers:
        await _not_forged(request, session)
    if request.url.path != INGEST:  # it has a limit of its own, the log's: what was metered must get in
        _take_turn(request, platform, principal)
    request.state.principal, request.state.session = principal, session
    return principal


Caller = Annotated[Principal, Depends(caller)]


def needs(scope: str) -> Any:
    """A dependency that lets only callers with a scope through; others get a 403 problem."""

    async def check(principal: Caller) -> Principal:
        if not principal.may(scope):
            raise ProblemError(403, f"this key has {' '.join(sorted(principal.scopes))}; {scope} is needed")
        return principal

    return Depends(check)


def visible_user(principal: Principal, platform: Platform, user: str | None) -> str | None:
    """The user to filter by: a tenant sees only itself; raises the same 404 for others' users as for unknown ones."""
    if principal.tenant is not None:
        user = principal.tenant if user is None else platform.privacy.seen_as(user)
        if user != principal.tenant:
            raise ProblemError(404, f"no usage of user {user!r:.80} is known; GET /v1/users lists those there are")
        return user
    if user is not None and platform.privacy.pseudonyms is not None:
        user = platform.privacy.pseudonyms.mapping.known(user) or user
    if user is not None and not platform.knows(user):
        raise ProblemError(404, f"no usage of user {user!r:.80} is known; GET /v1/users lists those there are")
    return user


def vendor_only(principal: Principal) -> None:
    """Raises a 403 problem for a tenant's key."""
    if not principal.vendor:
        raise ProblemError(403, "this is about all tenants; a vendor's key is needed")


def _take_turn(request: Request, platform: Platform, principal: Principal) -> None:
    """Count one request; raises 429 when there were too many of this key."""
    allowance = platform.limiter.take(principal.key_id)
    request.state.rate_limit = allowance.headers()
    if not allowance.granted:
        raise ProblemError(
            429,
            f"more than {allowance.limit} requests a minute with this key; wait {allowance.reset_s} s",
            {"Retry-After": str(allowance.reset_s)},
        )


async def _identify(request: Request, platform: Platform) -> tuple[Principal, Session | None]:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text:
        key = await _checked(platform, text.strip())
        if key is None:
            raise ProblemError(401, "this key is unknown, revoked or expired; ask for a new one", CHALLENGE)
        return key.principal(), None
    session = platform.sessions.read(request.cookies.get(COOKIE, ""))
    if session is not None:
        key = platform.keys.find(session.key_id)
        if key is not None and key.live(time.time()):
            return key.principal(), session
    if platform.keys.exist():
        raise ProblemError(401, "a key is needed; send Authorization: Bearer mc_...", CHALLENGE)
    _local(request)
    return LOCAL, None


async def _checked(platform: Platform, text: str) -> Key | None:
    if platform.keys.knows(text):
        return platform.keys.check(text)
    return await asyncio.to_thread(platform.keys.check, text)


def _local(request: Request) -> None:
    """Refuse foreign Host names on a server without keys: else a page elsewhere could rebind its name to loopback."""
    host = request.headers.get("host", "")
    if not _is_this_machine(host):
        raise ProblemError(403, f"Host {host!r:.60} is not this machine; make a key to serve other names")


@functools.lru_cache(maxsize=64)
def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:  # a bracket without its other half
        return False
    return name in ("127.0.0.1", "::1", "localhost", "testserver")


def known_program(platform: Platform, authorization: str, host: str) -> Principal | None:
    """Who a program is that is no browser, where it can be told at once; None where `caller` has to find out."""
    if not authorization:
        return LOCAL if not platform.keys.exist() and _is_this_machine(host) else None
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text or not platform.keys.knows(text):
        return None
    key = platform.keys.check(text)
    if key is None:
        return None
    principal = key.principal()
    if principal.tenant is None:
        return principal
    return replace(principal, tenant=platform.privacy.seen_as(principal.tenant))


def refuse_foreign(request: Request) -> None:
    """Raises 403 when Fetch metadata or Origin say that the request was made by another site."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if site not in ("none", "same-origin") or foreign:
        raise ProblemError(403, "this request comes from another site; use the pages of this server")


async def _not_forged(request: Request, session: Session | None) -> None:
    """Raises 403 unless the request came from this site and, in a session, has its token."""
    refuse_foreign(request)
    if session is None:
        return
    token = request.headers.get("x-csrf-token")
    if token is None and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        token = str((await request.form()).get("csrf", ""))
    if token != session.csrf:
        raise ProblemError(403, "the form is out of date; load the page again")
