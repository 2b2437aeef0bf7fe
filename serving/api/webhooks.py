"""/v1/webhooks: who is told of budgets and invoices, and the log of what was sent."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.access.principal import Principal
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs
from serving.platform import Platform
from serving.webhooks.store import EVENTS, Webhook

router = APIRouter(tags=["webhooks"], dependencies=[needs("estimates:read")])
_SECRET = {"Cache-Control": "no-store"}


class WebhookRequest(BaseModel):
    """Where to send what; a tenant's hook gets its own events, the vendor's those of everyone."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "http://127.0.0.1:9/hook", "events": ["budget.spent"]}]},
    )

    url: Annotated[str, Field(min_length=8, max_length=2_000)]
    events: Annotated[list[str], Field(min_length=1, max_length=len(EVENTS))] = list(EVENTS)


@router.get("/v1/webhooks")
def get_webhooks(platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """All hooks, a tenant's own; without their secrets."""
    mine = None if principal.vendor else str(principal.tenant)
    return {"webhooks": [document(hook) for hook in platform.commerce.webhooks.every(mine)]}


@router.post("/v1/webhooks", status_code=201)
def post_webhook(body: WebhookRequest, platform: PlatformDependency, principal: Caller) -> JSONResponse:
    """A new hook; the secret that its signatures are made with is in this answer and nowhere else."""
    if principal.vendor and not principal.may("admin"):
        raise ProblemError(403, "a hook for the events of everyone needs the scope admin")
    try:
        hook = platform.commerce.webhooks.add(principal.tenant or "", body.url, list(dict.fromkeys(body.events)))
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
    platform.audit.record(principal.key_id, "webhook.create", hook.id, tenant=principal.tenant, url=body.url)
    return JSONResponse(document(hook) | {"secret": hook.secret}, 201, _SECRET)


@router.post("/v1/webhooks/{webhook_id}/test", status_code=202)
def post_test(webhook_id: str, platform: PlatformDependency, principal: Caller) -> dict[str, str]:
    """Send a test event; the deliveries say how it went."""
    hook = _existing(webhook_id, platform, principal)
    event_id = f"test:{secrets.token_hex(8)}"
    platform.commerce.webhooks.publish(event_id, "webhook.test", hook.user, {"webhook": hook.id}, time.time_ns())
    return {"event": event_id}


@router.get("/v1/webhooks/{webhook_id}/deliveries")
def get_deliveries(
    webhook_id: str,
    platform: PlatformDependency,
    principal: Caller,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """Every attempt, the latest first; status 0 is no answer."""
    hook = _existing(webhook_id, platform, principal)
    return {
        "deliveries": [
            {
                "event": one.event_id,
                "kind": one.kind,
                "attempt": one.attempt,
                "at": iso(one.at_ns),
                "status": one.status,
                "error": one.error or None,
            }
            for one in platform.commerce.webhooks.deliveries(hook.id, limit)
        ]
    }


@router.delete("/v1/webhooks/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, platform: PlatformDependency, principal: Caller) -> None:
    """Take a hook away, with what waits for it."""
    hook = _existing(webhook_id, platform, principal)
    platform.commerce.webhooks.remove(hook.id)
    platform.audit.record(principal.key_id, "webhook.remove", hook.id)


def document(hook: Webhook) -> dict[str, Any]:
    """A hook as JSON, without its secret."""
    return {"id": hook.id, "user": hook.user or None, "url": hook.url, "events": list(hook.events)}


def _existing(webhook_id: str, platform: Platform, principal: Principal) -> Webhook:
    mine = None if principal.vendor else str(principal.tenant)
    found = next((hook for hook in platform.commerce.webhooks.every(mine) if hook.id == webhook_id), None)
    if found is None:
        raise ProblemError(404, f"no webhook {webhook_id!r:.60}; GET /v1/webhooks lists those there are")
    return found
