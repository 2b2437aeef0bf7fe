"""Chooses how batches leave the process, by where they are to go."""

from __future__ import annotations

from metercast.shipping.delivery import ServerDelivery
from metercast.shipping.directory import DirectoryDelivery
from metercast.shipping.producer import Producer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings


def delivery_of(settings: Settings) -> ServerDelivery | DirectoryDelivery | None:
    """To a server by its URL, else to a directory; None where nothing is shipped."""
    if not settings.to:
        return None
    if "://" in settings.to:
        return ServerDelivery(settings, Producer())
    return DirectoryDelivery(settings.to, Producer())
