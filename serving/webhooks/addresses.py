"""Which addresses a webhook may call: http(s) only, and none inside the vendor's network for a tenant's hook."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


class AddressError(ValueError):
    """An address that must not be called; the message says why."""


def check_address(url: str, inside_allowed: bool) -> None:
    """Raises AddressError for what is no http(s) URL and, unless allowed, for hosts that are not on the internet."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise AddressError(f"{url!r:.120} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise AddressError(f"{url!r:.120} is no address for a webhook; give https://HOST/PATH without a user")
    if inside_allowed:
        return
    if parts.scheme != "https":
        raise AddressError(f"{url!r:.120} is not encrypted; give https://HOST/PATH")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(f"host {host!r:.80} cannot be resolved: {error}") from error
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
            raise AddressError(f"host {host!r:.80} is inside a private network; give an address on the internet")
