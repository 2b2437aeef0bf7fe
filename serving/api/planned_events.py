"""/v1/planned-events: the calendar of times in which more usage is expected, so that nobody is alerted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.access.principal import Principal
from serving.alerts.anomaly import EVERYONE, WHOLE
from serving.alerts.calendar import PlannedEvent, planned
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.platform import Platform

router = APIRouter(tags=["anomalies"], dependencies=[needs("usage:read")])
Name = Annotated[str, Field(min_length=1, max_length=256)]


class NewEvent(BaseModel):
    """A time in which more usage is expected; `*` stands for every user, or every operation."""

    user: Name = EVERYONE
    operation: Name = WHOLE
    start: str = Field(description="RFC 3339")
    end: str = Field(description="RFC 3339, after the start")
    repeats: str = Field("", description="empty, daily, weekly or monthly")
    note: str = Field("", max_length=500)


@router.get("/v1/planned-events")
def get_planned_events(
    platform: PlatformDependency, principal: Caller, user: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The calendar, by start; a tenant sees its own events and those of everyone."""
    user = visible_user(principal, platform, user)
    return {"planned_events": [document(event) for event in platform.anomalies.planned(user)]}


@router.post("/v1/planned-events", status_code=201)
def post_planned_event(body: NewEvent, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Enter an event; a tenant plans for itself only."""
    user = body.user if principal.vendor else str(principal.tenant)
    try:
        times = time_ns("start", body.start, 0), time_ns("end", body.end, 0)
        event = planned(user, body.operation, *times, body.repeats, body.note)
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
    platform.anomalies.plan(event)
    platform.audit.record(principal.key_id, "planned_event.create", event.id, user=event.user)
    return document(event)


@router.delete("/v1/planned-events/{event_id}", status_code=204)
def delete_planned_event(event_id: str, platform: PlatformDependency, principal: Caller) -> None:
    """Take an event out; a tenant its own only."""
    if not _is_theirs(event_id, platform, principal) or not platform.anomalies.unplan(event_id):
        raise ProblemError(404, f"no planned event {event_id!r:.40}; GET /v1/planned-events lists those there are")
    platform.audit.record(principal.key_id, "planned_event.delete", event_id)


def document(event: PlannedEvent) -> dict[str, Any]:
    """An event as JSON."""
    return {
        "id": event.id,
        "user": event.user,
        "operation": event.operation,
        "start": iso(event.start_ns),
        "end": iso(event.end_ns),
        "repeats": event.repeats or None,
        "note": event.note,
    }


def _is_theirs(event_id: str, platform: Platform, principal: Principal) -> bool:
    return principal.vendor or any(
        event.id == event_id and event.user == principal.tenant
        for event in platform.anomalies.planned(principal.tenant)
    )
