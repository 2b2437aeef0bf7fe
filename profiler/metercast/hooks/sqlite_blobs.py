"""A stand-in for `sqlite3.Blob`, which cannot be derived from, so that its reads and writes can be counted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOVING = ("read", "write", "close", "__getitem__", "__setitem__", "__exit__")
"""What moves bytes, or has SQLite finish moving them."""


class Blob:
    """Does what the blob it stands for does, and says that it is of its class."""

    def __init__(self, blob: Any) -> None:
        self._blob = blob

    def __len__(self) -> int:
        return len(self._blob)

    def __enter__(self) -> Blob:
        self._blob.__enter__()
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blob, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._blob)


def _delegate(name: str) -> Callable[..., Any]:
    return lambda self, *args: getattr(self._blob, name)(*args)


for _name in MOVING:
    setattr(Blob, _name, _delegate(_name))


def blob_opener(original: Callable[..., Any], blob_class: type) -> Callable[..., Any]:
    """`Connection.blobopen` that returns blobs of the class given."""

    def blobopen(self: Any, *args: Any, **kwargs: Any) -> Any:
        return blob_class(original(self, *args, **kwargs))

    blobopen.__doc__ = original.__doc__
    return blobopen
