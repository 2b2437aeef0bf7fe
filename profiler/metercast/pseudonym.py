"""A pseudonym for a userID: a keyed HMAC, the same wherever the same key is used."""

from __future__ import annotations

PREFIX = "p_"
_LENGTH = len(PREFIX) + 32
_REMEMBERED = 100_000


def pseudonym(key: bytes, user: str) -> str:
    """``p_`` and 32 letters and digits: 160 bits of HMAC-SHA256 (RFC 2104) over the UTF-8, in base32 (RFC 4648)."""
    import base64
    import hmac

    digest = hmac.digest(key, user.encode("utf-8", "surrogatepass"), "sha256")[:20]
    return PREFIX + base64.b32encode(digest).decode("ascii").lower()


def is_pseudonym(user: str) -> bool:
    """Whether a userID has the form of a pseudonym."""
    return (
        len(user) == _LENGTH
        and user.startswith(PREFIX)
        and all("a" <= letter <= "z" or "2" <= letter <= "7" for letter in user[len(PREFIX) :])
    )


def newest_key(path: str) -> bytes:
    """The last key of a file with a ``name:hex`` a line; raises ValueError that says what the file should hold."""
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().split()
        key = bytes.fromhex(lines[-1].partition(":")[2])
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path} holds no keys: {error}. `metercast pseudonyms rotate {path}` makes one.") from error
    if len(key) < 16:
        raise ValueError(f"{path}: its last key is too short. A line is name:hex, with 32 digits or more.")
    return key


class Pseudonyms:
    """Puts pseudonyms in the place of users, as the server would with the same key."""

    __slots__ = ("_key", "_known")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def of(self, user: str) -> str:
        """The pseudonym of a user; one that is a pseudonym stays as it is."""
        found = self._known.get(user)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[user] = user if is_pseudonym(user) else pseudonym(self._key, user)
        return found
