"""API keys: shown once, kept as scrypt hashes, bound to a tenant, rotated with an overlap."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from features.database import Location, connect
from serving.access.principal import SCOPES, Principal

PREFIX = "mc"
OVERLAP_S = 24 * 3600.0
LOOK_S = 0.25
_REMEMBERED = 4_096
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tenant TEXT,
    scopes TEXT NOT NULL,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    created_s REAL NOT NULL,
    expires_s REAL
) WITHOUT ROWID
"""
_ALL = "SELECT id, name, tenant, scopes, created_s, expires_s, salt, hash FROM keys"


class BadKeyError(ValueError):
    """A key cannot be made or changed as asked; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key without its secret; ``tenant`` None is the vendor's, times in Unix seconds."""

    id: str
    name: str
    tenant: str | None
    scopes: tuple[str, ...]
    created_s: float
    expires_s: float | None

    def live(self, now_s: float) -> bool:
        """Whether the key still opens anything."""
        return self.expires_s is None or now_s < self.expires_s

    def principal(self) -> Principal:
        """Who asks with this key."""
        return Principal(self.id, self.tenant, frozenset(self.scopes))


class KeyStore:
    """The keys of one data directory; another process may change them while this one checks.

    Revoked keys stay in the table, so that revoking the last one does not open the server to everyone.
    """

    def __init__(self, location: Location) -> None:
        """Open the database, making the table where it is missing."""
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._connection = connect(location)
        self._connection.execute(_TABLE)
        self._exist, self._looked_s = False, -LOOK_S
        self._remembered: OrderedDict[bytes, tuple[str, bytes]] = OrderedDict()

    def exist(self) -> bool:
        """Whether any key was ever made: from then on every request needs one.

        A key made by another process is noticed within `LOOK_S`.
        """
        now_s = time.monotonic()
        if not self._exist and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._exist = bool(self._rows("SELECT 1 FROM keys LIMIT 1"))
        return self._exist

    def create(
        self, name: str, scopes: Iterable[str], tenant: str | None = None, lifetime_s: float | None = None
    ) -> tuple[Key, str]:
        """A new key and its text, which nobody can read again; raises BadKeyError for unknown scopes."""
        kept = tuple(sorted(set(scopes)))
        unknown = [scope for scope in kept if scope not in SCOPES]
        if unknown or not kept:
            raise BadKeyError(f"scope {unknown[0] if unknown else ''!r:.40} is unknown; one of {', '.join(SCOPES)}")
        if tenant is not None and set(kept) & {"admin", "plans:write"}:
            raise BadKeyError("a key of one tenant cannot have admin or plans:write; leave out the tenant or the scope")
        if not 0 < len(name) <= 100:
            raise BadKeyError(f"the name has {len(name)} characters; 1 to 100 are allowed")
        now_s = time.time()
        expires_s = now_s + lifetime_s if lifetime_s is not None else None
        key = Key(secrets.token_hex(6), name, tenant, kept, now_s, expires_s)
        secret, salt = secrets.token_hex(24), secrets.token_bytes(16)
        row = (key.id, name, tenant, " ".join(kept), salt, _hash(secret, salt), now_s, expires_s)
        self._rows("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._exist = True
        return key, f"{PREFIX}_{key.id}_{secret}"

    def rotate(self, key_id: str, overlap_s: float = OVERLAP_S) -> tuple[Key, str]:
        """A new key with the same rights; the old one goes on working for ``overlap_s`` seconds."""
        old = self.find(key_id)
        if old is None or not old.live(time.time()):
            raise BadKeyError(f"no live key {key_id!r:.40}; list the keys to see those there are")
        made = self.create(old.name, old.scopes, old.tenant)
        self.revoke(key_id, overlap_s)
        return made

    def revoke(self, key_id: str, after_s: float = 0.0) -> None:
        """End a key now or ``after_s`` seconds from now, never later than it would have ended."""
        if self.find(key_id) is None:
            raise BadKeyError(f"no key {key_id!r:.40}; list the keys to see those there are")
        end_s = time.time() + after_s
        self._rows(
            "UPDATE keys SET expires_s = ? WHERE id = ? AND (expires_s IS NULL OR expires_s > ?)",
            (end_s, key_id, end_s),
        )

    def every(self, tenant: str | None = None) -> list[Key]:
        """All keys, or those of one tenant, oldest first."""
        rows = self._rows(f"{_ALL} WHERE ? IS NULL OR tenant = ? ORDER BY created_s", (tenant,) * 2)
        return [_key(row) for row in rows]

    def find(self, key_id: str) -> Key | None:
        """The key of an id."""
        rows = self._rows(f"{_ALL} WHERE id = ?", (key_id,))
        return _key(rows[0]) if rows else None

    def check(self, text: str) -> Key | None:
        """The live key that a text opens, or None; slow (scrypt) only the first time a text is seen."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        rows = self._rows(f"{_ALL} WHERE id = ?", (key_id,))
        if prefix != PREFIX or not rows or not secret:
            return None
        key, salt, stored = _key(rows[0]), rows[0][6], rows[0][7]
        if not key.live(time.time()):
            return None
        digest = hashlib.sha256(text.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[0] == key_id and hmac.compare_digest(remembered[1], stored):
            return key
        with self._hashing:  # one at a time: guessing must not take the machine's processors and memory
            right = hmac.compare_digest(_hash(secret, salt), stored)
        if not right:
            return None
        self._remember(digest, key_id, stored)
        return key

    def knows(self, text: str) -> bool:
        """Whether a text was found right before, so that `check` will be quick."""
        return hashlib.sha256(text.encode()).digest() in self._remembered

    def close(self) -> None:
        """Release the database."""
        self._connection.close()

    def _remember(self, digest: bytes, key_id: str, stored: bytes) -> None:
        with self._lock:
            self._remembered[digest] = key_id, stored
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _rows(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, tuple(values)).fetchall()


def _hash(secret: str, salt: bytes) -> bytes:
    """scrypt (RFC 7914) with 16 MiB; the parameters are those of the standard's interactive use."""
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def _key(row: tuple[Any, ...]) -> Key:
    key_id, name, tenant, scopes, created_s, expires_s = row[:6]
    return Key(key_id, name, tenant, tuple(scopes.split()), created_s, expires_s)
