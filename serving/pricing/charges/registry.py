"""The charge models that plans may name."""

from __future__ import annotations

from serving.pricing.charges.dynamic import Dynamic
from serving.pricing.charges.flat import Flat
from serving.pricing.charges.formula import FormulaPrice
from serving.pricing.charges.graduated import Graduated
from serving.pricing.charges.graduated_percentage import GraduatedPercentage
from serving.pricing.charges.matrix import Matrix
from serving.pricing.charges.package import Package
from serving.pricing.charges.per_unit import PerUnit
from serving.pricing.charges.percentage import Percentage
from serving.pricing.charges.stair_step import StairStep
from serving.pricing.charges.threshold import Threshold
from serving.pricing.charges.volume import Volume
from serving.pricing.plan import ChargeModel

CHARGE_MODELS: dict[str, type[ChargeModel]] = {
    "per_unit": PerUnit,
    "package": Package,
    "graduated": Graduated,
    "volume": Volume,
    "stair_step": StairStep,
    "threshold": Threshold,
    "percentage": Percentage,
    "graduated_percentage": GraduatedPercentage,
    "dynamic": Dynamic,
    "matrix": Matrix,
    "formula": FormulaPrice,
    "flat": Flat,
}
"""Name in a plan file -> class; its parameters are the keys of the charge in the file."""
