"""/v1/keys and /v1/audit: keys are made, rotated and revoked by administrators, and every act is written down."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.access.keys import OVERLAP_S, BadKeyError, Key
from serving.api.dependencies import PlatformDependency
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs

router = APIRouter(tags=["keys"], dependencies=[needs("admin")])
_SECRET = {"Cache-Control": "no-store"}


class KeyRequest(BaseModel):
    """A key to make: what it may do, for which tenant (none: the vendor's), and for how long."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "acme's dashboard", "scopes": ["usage:read"], "tenant": "acme"}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=8)]
    tenant: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    lifetime_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] | None = None


class RotateRequest(BaseModel):
    """How long the old key goes on working beside the new one."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = OVERLAP_S


@router.get("/v1/keys")
def get_keys(platform: PlatformDependency) -> dict[str, Any]:
    """All keys, without their secrets."""
    return {"keys": [document(key) for key in platform.keys.every()]}


@router.post("/v1/keys", status_code=201)
def post_key(body: KeyRequest, platform: PlatformDependency, principal: Caller) -> JSONResponse:
    """A new key; its text is in this answer and nowhere else. The first key must be an administrator's."""
    if not platform.keys.exist() and "admin" not in body.scopes:
        raise ProblemError(422, "the first key closes the server to everyone without one; give it the scope admin")
    try:
        tenant = platform.privacy.seen_as(body.tenant) if body.tenant is not None else None
        key, text = platform.keys.create(body.name, body.scopes, tenant, body.lifetime_s)
    except BadKeyError as error:
        raise ProblemError(422, str(error)) from error
    platform.audit.record(principal.key_id, "key.create", key.id, scopes=list(key.scopes), tenant=key.tenant)
    return JSONResponse(document(key) | {"key": text}, 201, _SECRET)


@router.post("/v1/keys/{key_id}/rotate", status_code=201)
def post_rotation(key_id: str, platform: PlatformDependency, principal: Caller, body: RotateRequest) -> JSONResponse:
    """A new key with the same rights; the old one works until the overlap is over."""
    try:
        key, text = platform.keys.rotate(key_id, body.overlap_s)
    except BadKeyError as error:
        raise ProblemError(404, str(error)) from error
    platform.audit.record(principal.key_id, "key.rotate", key_id, successor=key.id, overlap_s=body.overlap_s)
    return JSONResponse(document(key) | {"key": text}, 201, _SECRET)


@router.delete("/v1/keys/{key_id}", status_code=204)
def delete_key(key_id: str, platform: PlatformDependency, principal: Caller) -> None:
    """Revoke a key at once."""
    try:
        platform.keys.revoke(key_id)
    except BadKeyError as error:
        raise ProblemError(404, str(error)) from error
    platform.audit.record(principal.key_id, "key.revoke", key_id)


@router.get("/v1/audit")
def get_audit(
    platform: PlatformDependency,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int, Query(ge=1, lt=2**63)] | None = None,
) -> dict[str, Any]:
    """Administrative acts, latest first."""
    acts = platform.audit.latest(limit, before)
    return {
        "acts": [
            {
                "id": act.id,
                "at": _time(act.at_s),
                "actor": act.actor,
                "act": act.act,
                "subject": act.subject,
                "detail": act.detail,
            }
            for act in acts
        ],
        "next": acts[-1].id if len(acts) == limit else None,
    }


def document(key: Key) -> dict[str, Any]:
    """A key as JSON, without its secret."""
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "created": _time(key.created_s),
        "expires": _time(key.expires_s) if key.expires_s is not None else None,
        "live": key.live(time.time()),
    }


def _time(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
