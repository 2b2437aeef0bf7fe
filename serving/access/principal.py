"""Who asks: a key's holder, bound to one tenant or to none, with the scopes that it was given."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = ("events:write", "usage:read", "estimates:read", "plans:write", "admin")
"""Everything a key can be given; `admin` includes the others."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who asks; ``tenant`` None is the vendor, who sees all tenants."""

    key_id: str
    tenant: str | None
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether this one has a scope; raises KeyError for a scope that does not exist."""
        if scope not in SCOPES:
            raise KeyError(f"scope {scope!r} is unknown; one of {', '.join(SCOPES)}")
        return scope in self.scopes or "admin" in self.scopes

    @property
    def vendor(self) -> bool:
        """Whether this one sees all tenants."""
        return self.tenant is None


LOCAL = Principal("local", None, frozenset({"admin"}))
"""Whoever asks a server without keys, which listens on loopback only."""
