"""Sessions of the dashboard: a signed cookie that names a key, and the token that forms must carry (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

COOKIE = "metercast_session"
LIFETIME_S = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """A key's holder in a browser until ``expires_s``; ``csrf`` proves that a form was made by this server."""

    key_id: str
    expires_s: int
    csrf: str


class Sessions:
    """Signs and reads session cookies (HMAC-SHA256, RFC 2104)."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` of at least 32 bytes; raises ValueError for a shorter one."""
        if len(secret) < 32:
            raise ValueError(f"the session secret has {len(secret)} bytes; at least 32 are needed")
        self._secret = secret

    def begin(self, key_id: str) -> str:
        """The cookie of a new session."""
        payload = f"{key_id}.{int(time.time()) + LIFETIME_S}.{secrets.token_hex(8)}"
        return f"{payload}.{self._sign('session', payload)}"

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie, or None when it was not signed here or has ended."""
        if not cookie:
            return None
        payload, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", payload).encode()):
            return None
        key_id, expires, _ = payload.split(".")
        if int(expires) < time.time():
            return None
        return Session(key_id, int(expires), self._sign("csrf", payload))

    def _sign(self, purpose: str, payload: str) -> str:
        return hmac.new(self._secret, f"{purpose}:{payload}".encode(), hashlib.sha256).hexdigest()


def session_secret(directory: Path) -> bytes:
    """METERCAST_SESSION_SECRET, or the content of METERCAST_SESSION_SECRET_FILE, or one made once in ``directory``."""
    given = os.environ.get("METERCAST_SESSION_SECRET")
    if given:
        return given.encode()
    named = os.environ.get("METERCAST_SESSION_SECRET_FILE")
    if named:
        return Path(named).read_bytes().strip()
    path = directory / "session.secret"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(32).encode())
    return path.read_bytes()
