"""Exact arithmetic on many numbers at once: 64-bit integers of a common scale, refused where they overflow."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from serving.pricing.money import PRECISION

Integers = NDArray[np.int64]
LIMIT = float(2**62)
PLACES = 6
"""Decimals that fractional usage is taken to."""


FACTOR_UNIT = 10**PLACES
"""Factors are taken to as many decimals."""


class TooLargeError(ArithmeticError):
    """Numbers that do not fit; the caller computes them one by one with Decimal."""


def integers(values: NDArray[np.float64]) -> tuple[Integers, int]:
    """Usage >= 0 as integers and their scale: (n, s) with value = n / 10**s; s is 0 where all values are whole."""
    if (values < 0).any():
        raise TooLargeError("usage below 0")
    whole = bool((values == np.rint(values)).all())
    if values.size and float(values.max()) * (1 if whole else 10**PLACES) >= LIMIT:
        raise TooLargeError(f"usage up to {values.max()}")
    if whole:
        return values.astype(np.int64), 0
    texts = (f"{value:.{PLACES}f}".replace(".", "") for value in values.ravel())
    return np.fromiter((int(text) for text in texts), np.int64, values.size).reshape(values.shape), PLACES


def numerators(coefficients: Sequence[Decimal]) -> tuple[list[int], int]:
    """Coefficients as integers over one power of ten: (n, s) with coefficient = n / 10**s."""
    exponents = [int(value.as_tuple().exponent) for value in coefficients]
    scale = max(0, *(-exponent for exponent in exponents)) if exponents else 0
    return [int(value.scaleb(scale, PRECISION)) for value in coefficients], scale


def weigh(columns: Integers, places: Sequence[tuple[int, int, int]], parts: int) -> Integers:
    """Quantities (paths, parts): the sum of numerator x column over (column, part, numerator)."""
    bound = sum(abs(n) * float(columns[:, c].max(initial=0)) for c, _, n in places)
    if bound >= LIMIT or any(n < 0 for _, _, n in places):
        raise TooLargeError(f"quantities up to {bound}")
    out = np.zeros((columns.shape[0], parts), np.int64)
    for column, part, numerator in places:
        out[:, part] += numerator * columns[:, column]
    return out


def whole_factors(means: Decimal | NDArray[np.float64], shape: tuple[int, int]) -> Integers:
    """Factors as integers of 1 / `FACTOR_UNIT`, one a path and column."""
    given = np.full(shape, float(means)) if isinstance(means, Decimal) else means
    return np.asarray(np.rint(given * FACTOR_UNIT), np.int64)


def surcharges(columns: Integers, factors: Integers, places: Sequence[tuple[int, int, int]]) -> list[int]:
    """Path by path the sum of numerator x column x (factor - 1), in units of 1 / `FACTOR_UNIT`; of any size.

    Raises TooLargeError where the products of columns and factors would not fit.
    """
    if float(columns.max(initial=0)) * float(factors.max(initial=0)) >= LIMIT:
        raise TooLargeError("quantities times factors")
    total = np.zeros(len(columns), object)
    for column, _, numerator in places:
        total = total + numerator * (
            columns[:, column].astype(object) * (factors[:, column].astype(object) - FACTOR_UNIT)
        )
    return [int(value) for value in total]


def split_rows(amounts: Integers, weights: Integers) -> Integers:
    """Row by row the largest-remainder split of an amount by weights, as `serving.pricing.money.split` does it.

    ``amounts`` (paths), ``weights`` (paths, parts) >= 0 with a positive sum in every row; ties go to the earlier part.
    """
    sign, size = np.sign(amounts), np.abs(amounts)
    if float(size.max(initial=0)) * float(weights.max(initial=0)) >= LIMIT:
        raise TooLargeError("amounts times quantities")
    whole = weights.sum(axis=1)
    shares, rest = np.divmod(size[:, None] * weights, whole[:, None])
    left = size - shares.sum(axis=1)
    order = np.argsort(-rest, axis=1, kind="stable")
    extra = (np.arange(weights.shape[1])[None, :] < left[:, None]).astype(np.int64)
    np.put_along_axis(shares, order, np.take_along_axis(shares, order, axis=1) + extra, axis=1)
    return np.asarray(sign[:, None] * shares, np.int64)


def decimals(values: Integers, exponent: int) -> list[list[Decimal]]:
    """Integers of minor units (rows, columns) as decimals of a currency's exponent, row by row."""
    unique, places = np.unique(values, return_inverse=True)
    table = np.empty(len(unique), dtype=object)
    table[:] = [Decimal(int(value)).scaleb(-exponent) for value in unique]
    rows: list[list[Decimal]] = table[places.reshape(values.shape)].tolist()
    return rows
