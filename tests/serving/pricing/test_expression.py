"""Meter expressions are linear, exact, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from serving.pricing.expression import ExpressionError, parse_expression

D = Decimal


def test_numbers_stay_exact() -> None:
    """What is written in decimal is computed in decimal."""
    value = parse_expression("0.1 * diskBytes + (networkBytes - cpuCycles) / 4 + 2 * 3 * diskBytes")
    usage = {"diskBytes": D(3), "networkBytes": D(8), "cpuCycles": D(4)}
    assert value.of(usage) == D("19.3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("diskBytes * networkBytes", "not linear"),
        ("1 / diskBytes", "not linear"),
        ("diskBytes + 1", "constant"),
        ("diskBytes / 0", "divides by zero"),
        ("bytes", "unknown field 'bytes'"),
        ("__import__('os').system('true')", "only numbers"),
        ("diskBytes ** 2", "not linear"),
        ("diskBytes if 1 else 0", "only numbers"),
        ("diskBytes +", "no expression"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(").replace("*", r"\*")):
        parse_expression(text)
