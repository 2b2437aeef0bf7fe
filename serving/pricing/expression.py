"""What a meter counts: a linear expression over the fields of usage, parsed against a whitelist, never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import PRECISION

FIELDS = ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes", "executionTimeMs", "units", "events")
"""The fields of usage that a meter may count."""


class ExpressionError(ValueError):
    """An expression that is not allowed; the message says what is."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of coefficient x field; exact, and the same whether usage is summed before or after."""

    coefficients: Mapping[str, Decimal]

    def of(self, usage: Mapping[str, Decimal]) -> Decimal:
        """The quantity that usage (by field) amounts to."""
        total = Decimal(0)
        for field, coefficient in self.coefficients.items():
            total = PRECISION.add(total, PRECISION.multiply(coefficient, usage.get(field, Decimal(0))))
        return total


def parse_expression(text: str) -> Linear:
    """Parse e.g. ``diskBytes / 1e9 + networkBytes / 1e9``; raises ExpressionError for anything not linear."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"{text!r} is no expression: {error.msg}") from error
    terms = _terms(tree.body, text)
    if None in terms:
        raise ExpressionError(f"{text!r} adds a constant; use a flat charge for what does not depend on usage")
    return Linear({field: value for field, value in terms.items() if field is not None})


def _terms(node: ast.expr, text: str) -> dict[str | None, Decimal]:
    """Coefficients by field; the field None stands for a constant."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return {None: Decimal(ast.get_source_segment(text, node) or str(node.value))}
    if isinstance(node, ast.Name):
        if node.id not in FIELDS:
            raise ExpressionError(f"{text!r}: unknown field {node.id!r}; one of {', '.join(FIELDS)}")
        return {node.id: Decimal(1)}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return {field: -value for field, value in _terms(node.operand, text).items()}
    if isinstance(node, ast.BinOp):
        return _binary(node, text)
    raise ExpressionError(f"{text!r}: only numbers, fields, + - * / and brackets are allowed")


def _binary(node: ast.BinOp, text: str) -> dict[str | None, Decimal]:
    left, right = _terms(node.left, text), _terms(node.right, text)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        sign = 1 if isinstance(node.op, ast.Add) else -1
        return {key: left.get(key, Decimal(0)) + sign * right.get(key, Decimal(0)) for key in left | right}
    if isinstance(node.op, ast.Mult):
        if set(left) != {None}:
            left, right = right, left
        if set(left) == {None}:
            return {key: PRECISION.multiply(left[None], value) for key, value in right.items()}
    if isinstance(node.op, ast.Div) and set(right) == {None}:
        if right[None] == 0:
            raise ExpressionError(f"{text!r} divides by zero")
        return {key: PRECISION.divide(value, right[None]) for key, value in left.items()}
    raise ExpressionError(f"{text!r} is not linear; multiply and divide by numbers only")
