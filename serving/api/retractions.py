"""/v1/retractions: wrong events are taken back, and what was."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from features.contracts import LogUnavailableError
from features.database import connect
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.events import problem_of
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, vendor_only
from serving.platform import Platform
from serving.storage.archive import Archive
from serving.storage.retraction import Retracted, Retraction, RetractionError, Selection, listed

router = APIRouter(tags=["events"], dependencies=[needs("usage:read")])
_END_NS = 2**63 - 1
Name = Annotated[str, Field(max_length=512)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Wrong(BaseModel):
    """Events that were wrong: those that have every name given, within the span of event time, if one is given."""

    producer: Name = ""
    epoch: Count | None = None
    first_sequence: Count | None = None
    last_sequence: Count | None = Field(None, description="the same as the first where it is left out")
    user: Name = ""
    operation: Name = ""
    micro_operation_type: Name = ""
    meter: Name = ""
    start: str | None = Field(None, description="RFC 3339")
    end: str | None = Field(None, description="RFC 3339, after the start")
    reason: str = Field(min_length=1, max_length=500, description="kept in the record of acts")
    dry_run: bool = Field(False, description="count, and take nothing back")


@router.post("/v1/retractions", dependencies=[needs("plans:write")])
def post_retraction(body: Wrong, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Take wrong events back, once, however often this is sent; says what that changes, and which invoices."""
    vendor_only(principal)
    try:
        found = _take_back(platform, _selection(body, platform), body.dry_run)
    except RetractionError as error:
        raise ProblemError(422, str(error)) from error
    except LogUnavailableError as error:
        raise problem_of(error) from error
    if not found.events and not found.before:
        raise ProblemError(404, "no event in the log is as described; GET /v1/usage shows what was used")
    if found.events and not body.dry_run:
        platform.audit.record(
            principal.key_id, "events.retract", body.reason, events=found.events, batches=found.batches
        )
    return found.document() | {"dry_run": body.dry_run, "invoices_to_correct": _invoices(platform, found)}


@router.get("/v1/retractions")
def get_retractions(
    platform: PlatformDependency,
    principal: Caller,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    """What was taken back, latest first: the batch, its events that were, and when; ``before`` an offset."""
    vendor_only(principal)
    connection = connect(platform.settings.database)
    try:
        rows = listed(connection, limit, before or _END_NS)
    finally:
        connection.close()
    shown = [{**row, "retracted_at": iso(int(str(row["received_ns"])))} for row in rows]
    return {"retractions": [{name: row[name] for name in row if name != "received_ns"} for row in shown]}


def _selection(body: Wrong, platform: Platform) -> Selection:
    sequences = None
    if body.first_sequence is not None:
        last = body.first_sequence if body.last_sequence is None else body.last_sequence
        sequences = body.first_sequence, last
    elif body.last_sequence is not None:
        raise RetractionError("last_sequence needs a first_sequence")
    return Selection(
        producer=body.producer,
        epoch=body.epoch,
        sequences=sequences,
        user_id=platform.privacy.seen_as(body.user) if body.user else "",
        operation_id=body.operation,
        micro_operation_type=body.micro_operation_type,
        meter=body.meter,
        start_ns=time_ns("start", body.start, 0),
        end_ns=time_ns("end", body.end, _END_NS),
    )


def _take_back(platform: Platform, wrong: Selection, only_count: bool) -> Retracted:
    connection = connect(platform.settings.database)
    try:
        archive = Archive(connection, platform.settings.data / "history")
        return Retraction(platform.log, connection, archive).take_back(wrong, only_count)
    finally:
        connection.close()


def _invoices(platform: Platform, found: Retracted) -> list[str]:
    """Numbers of issued invoices that rest on events taken back; POST .../corrections makes lines of the difference."""
    numbers = []
    for invoice in platform.commerce.invoices.every():
        overlaps = invoice.period.start_ns <= found.last_ns and found.first_ns < invoice.period.end_ns
        if overlaps and invoice.user in found.users:
            numbers.append(invoice.number)
    return numbers
