"""Where what was metered goes, by the setting ``to``: a server's address, a directory, or nowhere."""

from __future__ import annotations

from metercast.shipping.delivery import ServerDelivery
from metercast.shipping.directory import DirectoryDelivery
from metercast.shipping.producer import Producer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings


def delivery_to(settings: Settings) -> ServerDelivery | DirectoryDelivery | None:
    """What delivers to the place of the settings, as a new producer; None without a place."""
    if not settings.to:
        return None
    if "://" in settings.to:
        return ServerDelivery(settings, Producer())
    return DirectoryDelivery(settings.to, Producer())
