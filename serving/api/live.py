"""GET /v1/live: what happens now, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from serving.access.principal import LOCAL, Principal
from serving.api.anomalies import document, visible
from serving.api.dependencies import PlatformDependency
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.live_windows import message as _message
from serving.platform import Platform

router = APIRouter(tags=["live"], dependencies=[needs("usage:read")])
NANOSECONDS = 1_000_000_000
LONGEST_RESUME_S = 600
PULSE_S = 15.0
STATUS_S = 1.0
POLL_S = 0.2


@router.get("/v1/live", response_class=StreamingResponse)
async def get_live(
    request: Request,
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    last_event_id: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
) -> StreamingResponse:
    """Server-sent events: `window` for each that closes (its totals by operation), `anomaly` as it opens or changes.

    A window that usage came late for is told again, whole, as `revision`. Vendors also get `status` of the engine every
    second. The id of a `window` is its end in Unix nanoseconds: with `Last-Event-ID` the stream goes on from there.
    """
    user = visible_user(principal, platform, user)
    if platform.streams >= platform.settings.streams:
        raise ProblemError(503, f"{platform.streams} streams are open, as many as are allowed; close one or ask later")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = Stream(platform, principal, user, last_event_id)
    return StreamingResponse(stream.messages(request), headers=headers, media_type="text/event-stream")


class Stream:
    """What one listener hears; a stream ends when its key does."""

    def __init__(self, platform: Platform, principal: Principal, user: str | None, resume_ns: int | None) -> None:
        self._platform, self._principal, self._user = platform, principal, user
        self._window_s = platform.settings.windows_s[0]
        seen_ns = resume_ns if resume_ns is not None else platform.worker.closed_until_ns(self._window_s)
        self._seen_ns = max(seen_ns, time.time_ns() - LONGEST_RESUME_S * NANOSECONDS)
        self._told: dict[str, int] = {}
        self._revision = max((number for number, _ in platform.worker.revisions()), default=0)

    async def messages(self, request: Request) -> AsyncIterator[str]:
        """Messages in the text form of the HTML standard, until the listener leaves."""
        self._platform.streams += 1
        told_s = pulse_s = time.monotonic()
        try:
            while not await request.is_disconnected():
                for message in await self._closed():
                    yield message
                    pulse_s = time.monotonic()
                now_s = time.monotonic()
                if self._principal.vendor and now_s - told_s >= STATUS_S:
                    told_s = pulse_s = now_s
                    yield await asyncio.to_thread(self._platform.status_told.get, int(now_s), self._status)
                if now_s - pulse_s > PULSE_S:
                    pulse_s = now_s
                    if not self._still_allowed():
                        return
                    yield ": still here\n\n"
                await asyncio.sleep(POLL_S)
        finally:
            self._platform.streams -= 1

    async def _closed(self) -> list[str]:
        """Messages of the windows that closed since the last look."""
        until_ns = self._platform.worker.closed_until_ns(self._window_s)
        revised = self._revised()
        if until_ns <= self._seen_ns:
            return await asyncio.to_thread(self._corrections, revised) if revised else []
        messages = await asyncio.to_thread(self._news, self._seen_ns, until_ns)
        self._seen_ns = until_ns
        return messages + (await asyncio.to_thread(self._corrections, revised) if revised else [])

    def _revised(self) -> list[tuple[int, int]]:
        """Revisions of windows that were told before, since the last look: (number, window start)."""
        news = [one for one in self._platform.worker.revisions() if one[0] > self._revision]
        self._revision = news[-1][0] if news else self._revision
        return [one for one in news if one[1] < self._seen_ns]

    def _corrections(self, revised: list[tuple[int, int]]) -> list[str]:
        kept = self._platform.closed_windows
        return [message for number, start_ns in revised for message in kept.revised(self._user, number, start_ns)]

    def _news(self, start_ns: int, end_ns: int) -> list[str]:
        """Windows that closed in [start_ns, end_ns), and anomalies that are new or grew since they were told."""
        messages = list(self._platform.closed_windows.get(self._user, start_ns, end_ns))
        found = self._platform.anomalies.list(self._user, start_ns=end_ns - LONGEST_RESUME_S * NANOSECONDS)
        for anomaly in reversed(visible(self._principal, self._platform, found)):
            if self._told.get(anomaly.id) != anomaly.last_ns:
                self._told[anomaly.id] = anomaly.last_ns
                messages.append(_message("anomaly", end_ns, document(anomaly)))
        return messages

    def _status(self) -> str:
        return _message("status", None, self._platform.status())

    def _still_allowed(self) -> bool:
        if self._principal == LOCAL:
            return not self._platform.keys.exist()
        key = self._platform.keys.find(self._principal.key_id)
        return key is not None and key.live(time.time())
