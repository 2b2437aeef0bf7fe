"""Content encodings of request bodies, unpacked up to a limit and never further."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Mapping

import pyarrow as pa

from serving.ingest.limits import BodyError, Limits


def unpack(body: bytes, encoding: str, limits: Limits) -> bytes:
    """The body without its content encoding; raises BodyError 415 for an unknown one, 413 for one too large."""
    if len(body) > limits.body_bytes:
        raise BodyError(413, f"the body has {len(body)} bytes, at most {limits.body_bytes}; send smaller batches")
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    reader = _READERS.get(encoding)
    if reader is None:
        raise BodyError(415, f"content encoding {encoding!r:.60} is not supported; use {', '.join(_READERS)} or none")
    try:
        unpacked = reader(body, limits.unpacked_bytes + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BodyError(400, f"the {encoding} body is damaged: {error}") from error
    if len(unpacked) > limits.unpacked_bytes:
        raise BodyError(413, f"the body unpacks to more than {limits.unpacked_bytes} bytes; send smaller batches")
    return unpacked


def _gzip(body: bytes, most: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
        return packed.read(most)


def _zstd(body: bytes, most: int) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as packed:
        return bytes(packed.read(most))


_READERS: Mapping[str, Callable[[bytes, int], bytes]] = {"gzip": _gzip, "zstd": _zstd}
