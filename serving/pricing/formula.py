"""Formulas over meters: arithmetic on quantities, parsed against a whitelist into a tree, never evaluated as code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from serving.pricing.expression import ExpressionError
from serving.pricing.money import PRECISION

Values = Mapping[str, Decimal]
_Node = Callable[[Values], Decimal]

_FUNCTIONS: dict[str, tuple[int, Callable[[Sequence[Decimal]], Decimal]]] = {
    "min": (0, min),
    "max": (0, max),
    "abs": (1, lambda values: abs(values[0])),
    "ceil": (1, lambda values: values[0].to_integral_value(ROUND_CEILING)),
    "floor": (1, lambda values: values[0].to_integral_value(ROUND_FLOOR)),
    "round": (1, lambda values: values[0].to_integral_value(ROUND_HALF_UP)),
}
"""Name -> (number of arguments, 0 for any; what it does)."""
_OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: PRECISION.add,
    ast.Sub: PRECISION.subtract,
    ast.Mult: PRECISION.multiply,
    ast.Div: PRECISION.divide,
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula: its text, the meters in it, and how it is computed with 38 digits."""

    text: str
    names: tuple[str, ...]
    compute: _Node

    def of(self, values: Values) -> Decimal:
        """The result for quantities by meter; a meter without usage counts 0."""
        return self.compute(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def parse_formula(text: str, meters: Sequence[str]) -> Formula:
    """Parse e.g. ``0.02 * cpu + 0.1 * max(disk - 100, 0)``; raises ExpressionError for anything not allowed."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"{text!r} is no formula: {error.msg}") from error
    names: list[str] = []
    compute = _node(tree.body, text, meters, names)
    if not names:
        raise ExpressionError(f"{text!r} uses no meter; a flat charge is a price that depends on nothing")
    return Formula(text, tuple(dict.fromkeys(names)), compute)


def _node(node: ast.expr, text: str, meters: Sequence[str], names: list[str]) -> _Node:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = Decimal(ast.get_source_segment(text, node) or str(node.value))
        return lambda _values: number
    if isinstance(node, ast.Name):
        if node.id not in meters:
            raise ExpressionError(f"{text!r}: unknown meter {node.id!r}; defined are {', '.join(meters) or 'none'}")
        names.append(name := node.id)
        return lambda values: values.get(name, Decimal(0))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _node(node.operand, text, meters, names)
        return lambda values: -inner(values)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _binary(node, text, meters, names)
    if isinstance(node, ast.Call):
        return _call(node, text, meters, names)
    raise ExpressionError(f"{text!r}: only numbers, meters, + - * /, brackets and {', '.join(_FUNCTIONS)} are allowed")


def _binary(node: ast.BinOp, text: str, meters: Sequence[str], names: list[str]) -> _Node:
    operation = _OPERATIONS[type(node.op)]
    left = _node(node.left, text, meters, names)
    before = len(names)
    right = _node(node.right, text, meters, names)
    if isinstance(node.op, ast.Div):
        if len(names) > before:
            raise ExpressionError(f"{text!r} divides by usage, which may be 0; divide by numbers only")
        if right({}) == 0:
            raise ExpressionError(f"{text!r} divides by zero")
    return lambda values: operation(left(values), right(values))


def _call(node: ast.Call, text: str, meters: Sequence[str], names: list[str]) -> _Node:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in _FUNCTIONS or node.keywords:
        raise ExpressionError(f"{text!r}: unknown function; one of {', '.join(_FUNCTIONS)}")
    count, function = _FUNCTIONS[name]
    if (count and len(node.args) != count) or not node.args:
        raise ExpressionError(f"{text!r}: {name} takes {count or 'at least one'} argument(s), not {len(node.args)}")
    arguments = [_node(argument, text, meters, names) for argument in node.args]
    return lambda values: function([argument(values) for argument in arguments])
