"""POST /v1/events: batches of micro-operations, acknowledged when durable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import msgspec
from fastapi import APIRouter, Request, Response

from features.contracts import Batch, LogUnavailableError, Outcome, Receipt
from features.schema import Rejection
from features.windows import RETRACTION
from serving.access.principal import Principal
from serving.api.dependencies import platform_of
from serving.api.problems import ProblemError
from serving.api.security import caller
from serving.ingest.bodies import MEDIA_TYPES, BodyError, Limits, parse, unpack
from serving.ingest.committer import GroupCommitter, OverloadedError
from serving.platform import Platform

router = APIRouter(tags=["events"])
LIMITS = Limits()
NOTHING = Receipt(Outcome.ACCEPTED)
"""What became of a batch without rows, which is not kept."""
_READ_PAST_BYTES = 64 << 20
_BODY = {"content": {name: {} for name in MEDIA_TYPES}, "required": True}


@router.post("/v1/events", status_code=202, openapi_extra={"requestBody": _BODY})
async def post_events(request: Request) -> Response:
    """Take in events; the answer counts what was accepted, was a duplicate, or was rejected and why."""
    principal = await caller(request)
    check_may_write(principal)
    platform = platform_of(request)
    committer = platform.committer
    try:
        with ExitStack() as held:
            body = await _body(request, committer, held)
            headers = request.headers
            batch, rejected = taken(
                platform, principal, body, headers.get("content-type", ""), headers.get("content-encoding", "")
            )
            held.enter_context(committer.room(batch.rows.get_total_buffer_size()))
            receipt = await committer.submit(batch) if batch.rows.num_rows else NOTHING
    except (BodyError, OverloadedError, LogUnavailableError) as error:
        raise problem_of(error) from error
    return Response(answer(batch, rejected, receipt), 202, media_type="application/json")


def check_may_write(principal: Principal) -> None:
    """Raises a 403 problem for a key that may not send events."""
    if not principal.may("events:write"):
        raise ProblemError(403, f"this key has {' '.join(sorted(principal.scopes))}; events:write is needed")


def taken(
    platform: Platform, principal: Principal, body: bytes, content_type: str, encoding: str
) -> tuple[Batch, list[Rejection]]:
    """A body as the batch to keep and the rows rejected; raises BodyError, and a 403 problem for others' events."""
    media_type = content_type.partition(";")[0].strip().lower()
    batch, rejected = parse(unpack(body, encoding, LIMITS), media_type, LIMITS, time.time())
    if batch.producer.startswith(RETRACTION):
        raise BodyError(400, f"producer {batch.producer!r:.80}: {RETRACTION!r} begins no sender's name")
    batch = platform.privacy.applied(batch)
    _check_tenant(batch, principal)
    return batch, rejected


def problem_of(error: BodyError | OverloadedError | LogUnavailableError) -> ProblemError:
    """Why a batch was not taken, as a problem."""
    if isinstance(error, BodyError):
        return ProblemError(error.status, str(error))
    if isinstance(error, OverloadedError):
        return ProblemError(429, str(error), {"Retry-After": str(error.retry_after_s)})
    return ProblemError(503, f"{error}; nothing of this batch was kept, send it again", {"Retry-After": "5"})


def answer(batch: Batch, rejected: list[Rejection], receipt: Receipt) -> bytes:
    """The body of a 202; raises a 409 problem for a key that was used for other events."""
    if receipt.outcome is Outcome.CONFLICT:
        raise ProblemError(
            409,
            f"batch {batch.producer!r:.80}/{batch.epoch}/{batch.sequence} was sent before with other events; "
            "a new batch needs a new sequence",
        )
    duplicate = batch.rows.num_rows if receipt.outcome is Outcome.DUPLICATE else receipt.duplicate_rows
    if not rejected:
        return b'{"accepted":%d,"duplicate":%d,"rejected":[]}' % (batch.rows.num_rows - duplicate, duplicate)
    counts = {
        "accepted": batch.rows.num_rows - duplicate,
        "duplicate": duplicate,
        "rejected": [{"row": one.row, "reason": one.reason} for one in rejected],
    }
    return msgspec.json.encode(counts)


def _check_tenant(batch: Batch, principal: Principal) -> None:
    """Raises 403 when a tenant's key sends events of another."""
    if principal.tenant is not None:
        others = set(batch.rows["user_id"].unique().to_pylist()) - {principal.tenant}
        if others:
            raise ProblemError(403, f"this key meters {principal.tenant!r:.80} only; found {min(others)!r:.80}")


async def _body(request: Request, committer: GroupCommitter, held: ExitStack) -> bytes:
    """The body as sent; memory is held for it before it is read, and what is too much is read past, not kept."""
    announced = request.headers.get("content-length", "")
    room = int(announced) if announced.isdecimal() else 0
    parts, size, stream = list[bytes](), 0, request.stream()
    try:
        _check_size(room)
        held.enter_context(committer.room(room))
        async for part in stream:
            size += len(part)
            if size > room:  # sent in chunks, without its length
                _check_size(size)
                held.enter_context(committer.room(size - room))
                room = size
            parts.append(part)
    except (BodyError, OverloadedError):
        parts.clear()
        await _read_past(stream)
        raise
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _read_past(stream: AsyncIterator[bytes]) -> None:
    """Take in the rest of a body without keeping it: a sender that is cut off in the midst never sees the answer."""
    skipped = 0
    async for part in stream:
        skipped += len(part)
        if skipped > _READ_PAST_BYTES:
            return


def _check_size(size_bytes: int) -> None:
    if size_bytes > LIMITS.body_bytes:
        raise BodyError(413, f"the body has more than {LIMITS.body_bytes} bytes; send smaller batches")
