"""The limit on requests: a bucket of tokens for every key, refilled evenly."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

_KEYS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a minute's requests, and after how many seconds the bucket is full, or has a token again."""

    granted: bool
    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """The RateLimit headers of draft-ietf-httpapi-ratelimit-headers-07."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }


class Limiter:
    """Token buckets by key; a bucket holds one minute's requests."""

    def __init__(self, per_minute: int) -> None:
        """``per_minute`` requests for every key."""
        self.per_minute = per_minute
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str, now_s: float | None = None) -> Allowance:
        """Take one token, if there is one."""
        now = time.monotonic() if now_s is None else now_s
        per_s = self.per_minute / 60
        with self._lock:
            tokens, since = self._buckets.pop(key_id, (float(self.per_minute), now))
            tokens = min(float(self.per_minute), tokens + (now - since) * per_s)
            granted = tokens >= 1
            tokens -= granted
            self._buckets[key_id] = tokens, now
            if len(self._buckets) > _KEYS_KEPT:
                self._buckets.popitem(last=False)
        missing = 1 - tokens if not granted else self.per_minute - tokens
        return Allowance(granted, self.per_minute, int(tokens), max(1, math.ceil(missing / per_s)))
