"""Signatures of webhooks, for those who receive them: an HMAC over the time of sending and the body."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Metercast-Signature"
TOLERANCE_S = 300.0


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The header for a body sent at a Unix second: ``t=SECONDS,v1=HEX``."""
    return f"t={at_s},v1={_mac(secret, body, str(at_s))}"


def verify(secret: str, body: bytes, header: str, now_s: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a header was made with the secret for this body, not longer ago than the tolerance."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    at = parts.get("t", "")
    if not at.isdigit() or abs(now_s - int(at)) > tolerance_s:
        return False
    return hmac.compare_digest(_mac(secret, body, at).encode(), parts.get("v1", "").encode())


def _mac(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
