"""The page Settings: keys, budgets and webhooks, for administrators."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from serving.access.keys import OVERLAP_S, BadKeyError
from serving.access.principal import SCOPES
from serving.api import budgets
from serving.api import keys as key_resource
from serving.api import webhooks as webhook_resource
from serving.api.problems import ProblemError
from serving.api.security import needs
from serving.dashboard.rendering import View, ViewDependency, render
from serving.webhooks.store import EVENTS

router = APIRouter(include_in_schema=False, dependencies=[needs("admin")])


@router.get("/settings")
def settings_page(view: ViewDependency) -> Response:
    """Keys without their secrets, budgets, and the latest acts."""
    return _page(view, None)


@router.post("/settings/keys")
def make_key(
    view: ViewDependency,
    name: Annotated[str, Form(max_length=100)],
    scope: Annotated[list[str], Form()],
    tenant: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Make a key and show its text, this once."""
    platform = view.platform
    if not platform.keys.exist() and "admin" not in scope:
        raise ProblemError(422, "the first key closes the server to everyone without one; give it the scope admin")
    try:
        kept_as = platform.privacy.seen_as(tenant) if tenant else None
        key, text = platform.keys.create(name, scope, kept_as)
    except BadKeyError as error:
        raise ProblemError(422, str(error)) from error
    actor = view.principal.key_id
    platform.audit.record(actor, "key.create", key.id, scopes=list(key.scopes), tenant=key.tenant)
    return _page(view, text)


@router.post("/settings/keys/{key_id}/revoke")
def revoke_key(key_id: str, view: ViewDependency) -> Response:
    """End a key at once."""
    key_resource.delete_key(key_id, view.platform, view.principal)
    return RedirectResponse("/settings", 303)


@router.post("/settings/keys/{key_id}/rotate")
def rotate_key(key_id: str, view: ViewDependency) -> Response:
    """Make a key with the same rights and show its text, this once; the old one works on for a while."""
    try:
        key, text = view.platform.keys.rotate(key_id)
    except BadKeyError as error:
        raise ProblemError(404, str(error)) from error
    view.platform.audit.record(view.principal.key_id, "key.rotate", key_id, successor=key.id, overlap_s=OVERLAP_S)
    return _page(view, text)


@router.post("/settings/budgets")
def set_budget(
    view: ViewDependency, customer: Annotated[str, Form(max_length=200)], amount: Annotated[Decimal, Form(gt=0)]
) -> Response:
    """Set or replace a customer's budget."""
    budgets.put_budget(customer, budgets.BudgetRequest(amount=amount), view.platform, view.principal)
    return RedirectResponse("/settings", 303)


@router.post("/settings/budgets/remove")
def remove_budget(view: ViewDependency, customer: Annotated[str, Form(max_length=200)]) -> Response:
    """Take a customer's budget away."""
    budgets.delete_budget(customer, view.platform, view.principal)
    return RedirectResponse("/settings", 303)


@router.post("/settings/webhooks")
def add_webhook(view: ViewDependency, url: Annotated[str, Form(max_length=2_000)]) -> Response:
    """Add a hook for the events of everyone and show its secret, this once."""
    try:
        hook = view.platform.commerce.webhooks.add("", url, EVENTS)
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
    view.platform.audit.record(view.principal.key_id, "webhook.create", hook.id, url=url)
    return _page(view, hook.secret)


@router.post("/settings/webhooks/{webhook_id}/remove")
def remove_webhook(webhook_id: str, view: ViewDependency) -> Response:
    """Take a hook away."""
    webhook_resource.delete_webhook(webhook_id, view.platform, view.principal)
    return RedirectResponse("/settings", 303)


def _page(view: View, made: str | None) -> Response:
    platform = view.platform
    values = {
        "keys": [key_resource.document(key) for key in platform.keys.every()],
        "budgets": [budgets.document(one) for one in platform.budgets.every()],
        "webhooks": [
            webhook_resource.document(hook)
            | {"last": next((one.status for one in platform.commerce.webhooks.deliveries(hook.id, 1)), None)}
            for hook in platform.commerce.webhooks.every()
        ],
        "acts": key_resource.get_audit(platform, 20)["acts"],
        "scopes": list(SCOPES),
        "overlap_hours": OVERLAP_S / 3600,
    }
    return render(view, "settings.html", values, {"made": made})
