"""POST /v1/events: batches of micro-operations, acknowledged when durable."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from features.contracts import Outcome
from serving.api.dependencies import PlatformDependency
from serving.api.problems import ProblemError
from serving.api.security import Caller
from serving.ingest.bodies import MEDIA_TYPES, BodyError, Limits, parse, unpack
from serving.ingest.committer import OverloadedError

router = APIRouter(tags=["events"])
LIMITS = Limits()
_BODY = {"content": {name: {} for name in MEDIA_TYPES}, "required": True}


@router.post("/v1/events", status_code=202, openapi_extra={"requestBody": _BODY})
async def post_events(request: Request, platform: PlatformDependency, principal: Caller) -> JSONResponse:
    """Take in events; the answer counts what was accepted, was a duplicate, or was rejected and why."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        body = unpack(await _body(request), request.headers.get("content-encoding", ""), LIMITS)
        batch, rejected = parse(body, media_type, LIMITS, time.time())
    except BodyError as error:
        raise ProblemError(error.status, str(error)) from error
    if principal.tenant is not None:
        others = set(batch.rows["user_id"].unique().to_pylist()) - {principal.tenant}
        if others:
            raise ProblemError(403, f"this key meters {principal.tenant!r:.80} only; found {min(others)!r:.80}")
    outcome = Outcome.ACCEPTED
    if batch.rows.num_rows:
        try:
            outcome = await platform.committer.submit(batch)
        except OverloadedError as error:
            raise ProblemError(429, str(error), {"Retry-After": str(error.retry_after_s)}) from error
    if outcome is Outcome.CONFLICT:
        raise ProblemError(
            409,
            f"batch {batch.producer!r:.80}/{batch.epoch}/{batch.sequence} was sent before with other events; "
            "a new batch needs a new sequence",
        )
    rows = batch.rows.num_rows
    answer: dict[str, Any] = {
        "accepted": rows if outcome is Outcome.ACCEPTED else 0,
        "duplicate": rows if outcome is Outcome.DUPLICATE else 0,
        "rejected": [{"row": one.row, "reason": one.reason} for one in rejected],
    }
    return JSONResponse(answer, 202)


async def _body(request: Request) -> bytes:
    """The body as sent; reading stops as soon as it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LIMITS.body_bytes:
            raise BodyError(413, f"the body has more than {LIMITS.body_bytes} bytes; send smaller batches")
        parts.append(part)
    return b"".join(parts)
