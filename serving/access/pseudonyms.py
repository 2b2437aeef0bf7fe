"""Pseudonyms in the place of userIDs: a keyed HMAC, and the mapping back in a database of its own, kept apart."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from metercast.pseudonym import is_pseudonym, pseudonym

from features.database import Location, connect

_TABLE = """
CREATE TABLE IF NOT EXISTS pseudonyms (
    user_id TEXT PRIMARY KEY,
    pseudonym TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL
) WITHOUT ROWID
"""
_REMEMBERED = 100_000


class PseudonymKeyError(ValueError):
    """A file of keys that cannot be used; the message says what it should hold."""


def read_keys(path: Path) -> list[tuple[str, bytes]]:
    """Keys of a file, oldest first: a line each, ``name:hex``; raises PseudonymKeyError."""
    try:
        lines = path.read_text(encoding="ascii").split()
        keys = [(name, bytes.fromhex(text)) for name, _, text in (line.partition(":") for line in lines)]
    except (OSError, ValueError) as error:
        raise PseudonymKeyError(f"{path} holds no keys: {error}; `metercast pseudonyms rotate` makes one") from error
    short = [name for name, key in keys if len(key) < 16]
    if not keys or short:
        bad = f"key {short[0]!r:.40} is too short" if short else "there is no key in it"
        raise PseudonymKeyError(f"{path}: {bad}; a line is name:hex, with 32 digits or more")
    return keys


def add_key(path: Path) -> str:
    """Add a new key to a file, which is made where it is missing, for its owner only; returns the key's name."""
    keys = read_keys(path) if path.exists() else []
    name = f"k{len(keys) + 1}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{name}:{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    return name


class Mapping:
    """Which pseudonym stands for whom; a database of its own, readable for its owner only."""

    def __init__(self, location: Location) -> None:
        """Open the mapping, making it where it is missing."""
        self._lock = threading.Lock()
        if isinstance(location, Path):
            os.close(os.open(location, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = connect(location)
        self._connection.execute(_TABLE)
        self._remembered: dict[str, str] = {}

    def known(self, user: str) -> str | None:
        """The pseudonym of a user who has one."""
        with self._lock:
            return self._remembered.get(user) or self._find(user)

    def user_of(self, name: str) -> str | None:
        """Who a pseudonym stands for."""
        with self._lock:
            row = self._connection.execute("SELECT user_id FROM pseudonyms WHERE pseudonym = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def enter(self, user: str, name: str, key_id: str) -> str:
        """Enter a pseudonym, durably, unless the user has one; returns the one there is."""
        with self._lock:
            entry = (user, name, key_id)
            self._connection.execute("INSERT INTO pseudonyms VALUES (?, ?, ?) ON CONFLICT (user_id) DO NOTHING", entry)
            return self._find(user) or name

    def forget(self, user: str) -> bool:
        """Remove a user; what is left of the pseudonym then leads to nobody."""
        with self._lock:
            self._remembered.pop(user, None)
            if isinstance(self._connection, sqlite3.Connection):
                self._connection.execute("PRAGMA secure_delete = ON")
            gone = self._connection.execute("DELETE FROM pseudonyms WHERE user_id = ?", (user,)).rowcount == 1
            if isinstance(self._connection, sqlite3.Connection):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._connection.close()

    def _find(self, user: str) -> str | None:
        row = self._connection.execute("SELECT pseudonym FROM pseudonyms WHERE user_id = ?", (user,)).fetchone()
        if row is None:
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[user] = str(row[0])
        return self._remembered[user]


class Pseudonyms:
    """Pseudonyms of users; usable from several threads and, over one mapping, from several processes.

    The newest key makes the pseudonyms of users seen first from now on; who has one keeps it when keys rotate, so that
    bills go on. A userID that is a pseudonym already, made by a profiler, stays as it is.
    """

    def __init__(self, keys: Path, mapping: Location) -> None:
        """Open the mapping; raises PseudonymKeyError for a file without usable keys."""
        self._key_id, self._key = read_keys(keys)[-1]
        self.mapping = Mapping(mapping)

    def of(self, users: Iterable[str]) -> list[str]:
        """Pseudonyms of users, in their order; new ones are durable before this returns."""
        return [user if is_pseudonym(user) else self._of(user) for user in users]

    def _of(self, user: str) -> str:
        known = self.mapping.known(user)
        return known or self.mapping.enter(user, pseudonym(self._key, user), self._key_id)
