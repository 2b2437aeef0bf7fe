"""Retracted events: rows that take wrong ones back, and what remains of events without either.

The log is only ever added to, so events that were wrong are taken back by a batch of the same rows with their amounts
below zero. Its producer names the batch that it is about: ``retraction-<number>-<producer>``, epoch and sequence are
the same. Sums have such rows in them as they come; who looks at single events leaves both sides out.
"""

from __future__ import annotations

import polars as pl

from features.schema import ARROW_SCHEMA
from features.windows import RESOURCES, RETRACTION

_KEY = ("producer", "epoch", "sequence")
_CONTENT = [name for name in ARROW_SCHEMA.names if name not in _KEY]
_TARGET = "target"
_OCCURRENCE = "occurrence"


def is_retraction() -> pl.Expr:
    """Which rows take others back."""
    return pl.col("producer").str.starts_with(RETRACTION)


def retraction_name(producer: str, number: int) -> str:
    """The producer of the so-manieth batch that takes rows of a producer's batch back."""
    return f"{RETRACTION}{number}-{producer}"


def taken_back(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """Rows that take the given ones back, which are of one batch."""
    name = retraction_name(rows["producer"][0], number)
    return rows.with_columns(pl.lit(name).alias("producer"), *_negated())


def remaining(rows: pl.DataFrame, retractions: pl.DataFrame) -> pl.DataFrame:
    """Those of some rows of one or more batches that no retraction has taken back, in their order.

    Of rows that are alike, as many are left as were not taken back.
    """
    if retractions.is_empty() or rows.is_empty():
        return rows
    target = pl.col("producer").str.replace(f"^{RETRACTION}[0-9]+-", "").alias(_TARGET)
    known = _counted(retractions.with_columns(target, *_negated()))
    named = _counted(rows.with_columns(pl.col("producer").alias(_TARGET)))
    by = [_TARGET, "epoch", "sequence", *_CONTENT, _OCCURRENCE]
    return named.join(known, on=by, how="anti", maintain_order="left").select(rows.columns)


def without_retracted(events: pl.DataFrame) -> pl.DataFrame:
    """Events (columns of `features.schema.ARROW_SCHEMA`) without retractions and without what those took back.

    Both sides of a retraction have the same time and user, so any span and any choice of users may be given.
    """
    takes_back = events.select(is_retraction()).to_series()
    if not takes_back.any():
        return events
    return remaining(events.filter(~takes_back), events.filter(takes_back))


def _negated() -> list[pl.Expr]:
    return [(0 - pl.col(name)).alias(name) for name in RESOURCES]  # 0.0 - 0.0 is no negative zero


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    alike = [_TARGET, "epoch", "sequence", *_CONTENT]
    return rows.with_columns(pl.int_range(pl.len()).over(alike).alias(_OCCURRENCE))
