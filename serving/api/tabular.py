"""Tables as the caller likes them: JSON, CSV, Parquet or Arrow by the Accept header, in pages by an opaque cursor."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from typing import Any

import polars as pl
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from serving.api.dependencies import iso
from serving.api.problems import ProblemError

JSON_TYPE = "application/json"
CSV_TYPE = "text/csv"
PARQUET_TYPE = "application/vnd.apache.parquet"
ARROW_TYPE = "application/vnd.apache.arrow.stream"
MEDIA_TYPES = (JSON_TYPE, CSV_TYPE, PARQUET_TYPE, ARROW_TYPE)
CONTENT: dict[int | str, dict[str, Any]] = {200: {"content": {name: {} for name in MEDIA_TYPES}}}
"""For `responses=` of a route, so that the OpenAPI document names all forms."""


def wanted(request: Request) -> str:
    """The media type to answer with; raises a 406 problem when none of those asked for is made here."""
    choices = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
    for choice in choices:
        if choice in MEDIA_TYPES:
            return choice
        if choice in ("*/*", "application/*", ""):
            return JSON_TYPE
        if choice == "text/*":
            return CSV_TYPE
    raise ProblemError(406, f"{', '.join(choices)[:100]} is not made here; one of {', '.join(MEDIA_TYPES)}")


def table(request: Request, name: str, frame: pl.DataFrame, envelope: dict[str, Any]) -> Response:
    """The frame as the caller wants it; in JSON under ``name`` inside the envelope, otherwise alone.

    A `next` in the envelope also becomes a Link header (RFC 8288), the only place for it in the other forms.
    """
    kind = wanted(request)
    headers = {"Vary": "Accept, Authorization, Cookie"}
    if envelope.get("next"):
        following = request.url.include_query_params(cursor=envelope["next"])
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    if kind == JSON_TYPE:
        times = [column for column, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
        rows = frame.with_columns(pl.col(times).cast(pl.Int64)).iter_rows(named=True)
        return JSONResponse(
            {name: [row | {at: iso(row[at]) for at in times} for row in rows], **envelope}, 200, headers
        )
    buffer = io.BytesIO()
    if kind == CSV_TYPE:
        frame.write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    elif kind == PARQUET_TYPE:
        frame.write_parquet(buffer)
    else:
        frame.write_ipc_stream(buffer)
    return Response(buffer.getvalue(), 200, headers, kind)


def page(frame: pl.DataFrame, keys: Sequence[str], cursor: str | None, limit: int) -> tuple[pl.DataFrame, str | None]:
    """The rows after a cursor in the order of ``keys``, at most ``limit``, and the cursor of the page after them."""
    frame = frame.sort(keys)
    if cursor is not None:
        frame = frame.filter(_after(keys, read_cursor(cursor, len(keys))))
    rows = frame.head(limit)
    if frame.height <= limit:
        return rows, None
    last = rows.select(pl.col(key).cast(pl.Int64) if frame.schema[key].is_temporal() else pl.col(key) for key in keys)
    return rows, write_cursor(last.row(-1))


def write_cursor(values: Sequence[Any]) -> str:
    """Values as an opaque cursor."""
    return base64.urlsafe_b64encode(json.dumps(list(values)).encode()).decode().rstrip("=")


def read_cursor(cursor: str, size: int) -> list[Any]:
    """The values of a cursor; raises a 422 problem for one that was not made here."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or len(values) != size or not all(isinstance(v, str | int) for v in values):
        raise ProblemError(422, f"cursor={cursor!r:.60} was not made here; take `next` of the page before, unchanged")
    return values


def _after(keys: Sequence[str], values: Sequence[Any]) -> pl.Expr:
    """Rows that come after the given values in lexicographic order."""
    later, same = pl.lit(False), pl.lit(True)
    for key, value in zip(keys, values, strict=True):
        column = pl.col(key).cast(pl.Int64) if isinstance(value, int) else pl.col(key)
        later = later | (same & (column > value))
        same = same & (column == value)
    return later
