"""The charge models that plans may name."""

from __future__ import annotations

from serving.pricing.charges.flat import Flat
from serving.pricing.charges.graduated import Graduated
from serving.pricing.charges.per_unit import PerUnit
from serving.pricing.charges.volume import Volume

CHARGE_MODELS = {"per_unit": PerUnit, "graduated": Graduated, "volume": Volume, "flat": Flat}
"""Name in a plan file -> class; its parameters are the keys of the charge in the file."""
