"""The short way in for events answers on real sockets as the usual way does, in order, and holds no memory for long."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
import uvicorn
from metercast.event import BATCH_MEDIA_TYPE

from serving.api.app import create_app
from serving.api.events_protocol import protocol_of
from serving.settings import Settings
from tests.serving.conftest import event


class Served:
    """A server in a thread, and what its way in holds."""

    def __init__(self, settings: Settings, keep_alive_s: int = 5) -> None:
        self.app = create_app(settings)
        http = protocol_of(self.app)
        config = uvicorn.Config(
            self.app, http=http, port=0, log_config=None, server_header=False, timeout_keep_alive=keep_alive_s
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    def held_bytes(self) -> int:
        found: int = self.app.state.platform.committer._held_bytes
        return found


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    started = Served(settings)
    yield started
    started.stop()


def _body(sequence: int, cycles: int = 5) -> bytes:
    events = [event("acme", "checkout", "CPU_INSTRUCTION", time.time() - 1, cpuCycles=cycles)]
    return json.dumps({"producer": "test", "epoch": 1, "sequence": sequence, "events": events}).encode()


def _request(body: bytes, *more: str, media_type: str = BATCH_MEDIA_TYPE, version: str = "1.1") -> bytes:
    lines = [f"POST /v1/events HTTP/{version}", "Host: 127.0.0.1", f"Content-Type: {media_type}",
             f"Content-Length: {len(body)}", *more]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _talk(port: int, data: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], Any]]:
    """Send bytes, read so many answers: status, headers and document of each."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        file = connection.makefile("rb")
        return [_answer(file) for _ in range(answers)]


def _answer(file: BinaryIO) -> tuple[int, dict[str, str], Any]:
    status = int(file.readline().split()[1])
    headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(file.readline, b"\r\n"))
    return status, headers, json.loads(file.read(int(headers["content-length"])))


def test_answers_are_those_of_the_usual_way(served: Served) -> None:
    """Taken, sent again, with other content, of an unknown type, in part bad, empty: the same but for id and date."""
    good = _body(1)
    bad = json.dumps([event("", "checkout", "CPU_INSTRUCTION", time.time())]).encode()
    for body, media_type, status in (
        (good, BATCH_MEDIA_TYPE, 202),
        (_body(1, 6), BATCH_MEDIA_TYPE, 409),
        (good, "text/plain", 415),
        (b"{", BATCH_MEDIA_TYPE, 400),
        (bad, "application/json", 202),
        (b"[]", "application/json", 202),
    ):
        short, usual = (
            _talk(served.port, _request(body, *more, media_type=media_type))[0]
            for more in ((), ("Sec-Fetch-Site: none",))
        )
        assert short[0] == usual[0] == status
        assert {name for name in short[1] if name != "date"} == {name for name in usual[1] if name != "date"}
        assert short[1]["content-type"] == usual[1]["content-type"]
        if status == 202 and body is good:
            assert (short[2]["accepted"], usual[2]["duplicate"]) == (1, 1)
        else:
            assert short[2] == usual[2]


def test_requests_sent_ahead_are_answered_in_order(served: Served) -> None:
    """Three batches and a question on one connection, before any answer."""
    question = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    bodies = [_body(number) for number in range(3)]
    ahead = b"".join(map(_request, bodies)) + question + _request(bodies[0])
    found = _talk(served.port, ahead, 5)
    assert [status for status, _, _ in found] == [202, 202, 202, 200, 202]
    assert [document.get("accepted") for _, _, document in found] == [1, 1, 1, None, 0]


def test_connections_end_when_asked(served: Served) -> None:
    """`Connection: close` and HTTP/1.0 are honoured; an id that the sender gave comes back."""
    for data in (
        _request(_body(1), "Connection: close", "X-Request-Id: mine-1"),
        _request(_body(2), "X-Request-Id: mine-1", version="1.0"),
    ):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(data)
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert b"\r\nconnection: close\r\n" in answer
        assert b"\r\nx-request-id: mine-1\r\n" in answer


def test_a_head_that_is_known_means_the_same_again(served: Served) -> None:
    """Bodies of other lengths, in parts, with the next request behind them, and questions in between."""
    bodies = [_body(number, 10**number) for number in range(6)]
    question = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    other = _request(bodies[5], "X-Request-Id: mine-1")
    parts = [_request(bodies[0]), _request(bodies[1])[:-30], _request(bodies[1])[-30:] + _request(bodies[2]),
             question, _request(bodies[3])[:60], _request(bodies[3])[60:], other, _request(bodies[0])]  # fmt: skip
    found = []
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        file = connection.makefile("rb")
        for part, answers in zip(parts, (1, 0, 2, 1, 0, 1, 1, 1), strict=True):
            connection.sendall(part)
            time.sleep(0.02 if not answers else 0)
            found += [_answer(file) for _ in range(answers)]
    assert [status for status, _, _ in found] == [202, 202, 202, 200, 202, 202, 202]
    assert [document.get("accepted") for _, _, document in found] == [1, 1, 1, None, 1, 1, 0]
    assert found[5][1]["x-request-id"] == "mine-1"
    assert not served.held_bytes()


def test_a_connection_that_rests_is_closed(settings: Settings) -> None:
    """After the time set, counted from the last answer; one whose body is still coming stays open."""
    served = Served(settings, keep_alive_s=2)
    try:
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            file = connection.makefile("rb")
            for number in range(3):  # longer in all than the time set
                connection.sendall(_request(_body(number))[:-5])
                time.sleep(0.8)
                connection.sendall(_request(_body(number))[-5:])
                assert _answer(file)[0] == 202
            started = time.monotonic()
            assert file.read() == b""
            assert time.monotonic() - started > 0.5
    finally:
        served.stop()


def test_a_sender_that_goes_away_leaves_nothing_held(served: Served) -> None:
    """Memory held for a body comes back when it never becomes whole, and when nobody waits for the answer."""
    for part in (_request(_body(1))[:-10], _request(_body(1))):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(part)
            end = time.monotonic() + 30
            while not part.endswith(b"}") and not served.held_bytes():
                assert time.monotonic() < end
                time.sleep(0.01)
        while served.held_bytes():
            assert time.monotonic() < end
            time.sleep(0.01)


def test_keys_are_asked_for_on_the_short_way_too(served: Served) -> None:
    """No key 401, another's events 403, a key without the right 403; the right key gets in, also when it is known."""
    keys = served.app.state.platform.keys
    _, own = keys.create("own", ["events:write"], tenant="acme")
    _, other = keys.create("other", ["events:write"], tenant="globex")
    _, reader = keys.create("reader", ["usage:read"])
    body = _body(1)
    for text, status in (("", 401), ("mc_x_y", 401), (own, 202), (own, 202), (other, 403), (other, 403), (reader, 403),
                         (reader, 403)):  # fmt: skip
        more = [f"Authorization: Bearer {text}"] if text else []
        assert _talk(served.port, _request(body, *more))[0][0] == status


def test_more_than_may_be_held_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose memory is taken answers 429 with Retry-After, and 413 to a body that is too large."""
    committer = served.app.state.platform.committer
    monkeypatch.setattr(committer, "_held_bytes", committer._limit_bytes)
    status, headers, _ = _talk(served.port, _request(_body(1)))[0]
    assert (status, headers["retry-after"]) == (429, "1")
    monkeypatch.setattr(committer, "_held_bytes", 0)
    assert _talk(served.port, _request(b"x" * (17 << 20)))[0][0] == 413
    assert _talk(served.port, _request(_body(1)))[0][0] == 202
