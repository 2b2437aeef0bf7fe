"""A head that was parsed before is known again by its bytes, whatever its length says, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.api.known_heads import Head, KnownHeads

_NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() != "content-length"
)
_VALUE = st.from_regex(r"[!-~]{1,20}", fullmatch=True)


def _head(length: int, more: dict[str, str], name: str = "Content-Length") -> bytes:
    lines = ["POST /v1/events HTTP/1.1", f"{name}: {length}", *(f"{key}: {value}" for key, value in more.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _parsed(length: int, more: dict[str, str]) -> Head:
    return Head({b"content-length": str(length), **{key.encode(): value for key, value in more.items()}}, True)


@given(
    st.dictionaries(_NAME, _VALUE, max_size=4), st.integers(0, 10**10), st.integers(0, 10**10), st.binary(max_size=50)
)
def test_the_same_head_with_another_length(more: dict[str, str], first: int, second: int, body: bytes) -> None:
    """The length is that of the bytes at hand, and the body begins behind the head."""
    heads, head = KnownHeads(), _parsed(first, more)
    heads.remember(_head(first, more), head)
    text = _head(second, more)
    assert heads.find(text + body) == (head, len(text), second)


@given(st.dictionaries(_NAME, _VALUE, max_size=3), st.dictionaries(_NAME, _VALUE, max_size=3))
def test_another_head_is_not_known(more: dict[str, str], other: dict[str, str]) -> None:
    """Another header, value or case, or part of a head, goes to the parser."""
    heads = KnownHeads()
    heads.remember(_head(5, more), _parsed(5, more))
    assert (heads.find(_head(5, other)) is not None) == (list(more.items()) == list(other.items()))
    assert heads.find(_head(5, more, "content-length")) is None
    assert heads.find(_head(5, more)[:-1]) is None


def test_heads_that_are_not_remembered() -> None:
    """One with an id of its own; one of which the parser saw other headers; one without a length."""
    heads = KnownHeads()
    for text, head in (
        (_head(5, {"X-Request-Id": "a"}), Head({b"content-length": "5", b"x-request-id": "a"}, True)),
        (_head(5, {"a": "b"}), _parsed(5, {})),
        (b"POST /v1/events HTTP/1.1\r\nHost: a\r\n\r\n", Head({b"host": "a"}, True)),
    ):
        heads.remember(text, head)
        assert heads.find(text) is None
