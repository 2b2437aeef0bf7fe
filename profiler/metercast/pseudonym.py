"""A pseudonym for a userID: a keyed HMAC, the same wherever the same key is used."""

PREFIX = "p_"
_LENGTH = len(PREFIX) + 32


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
