"""Webhooks reach a real receiver: signed, again after failures, once an event, each attempt written down."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from metercast.client.webhook import HEADER, sign, verify

from serving.storage.tables import Tables
from serving.webhooks.addresses import AddressError, check_address
from serving.webhooks.sender import ATTEMPTS, WebhookSender
from serving.webhooks.store import WebhookStore
from tests.serving.receiver import Receiver

NANOSECONDS = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> WebhookStore:
    """Webhooks of a new database."""
    return WebhookStore(Tables(tmp_path / "hooks.db"))


def _publish(store: WebhookStore, hook_events: tuple[str, ...] = ("budget.spent",), key: str = "e1") -> bool:
    return store.publish(key, hook_events[0], "acme", {"amount": "12.50"}, time.time_ns())


def test_a_receiver_can_trust_what_it_gets(store: WebhookStore, receiver: Receiver) -> None:
    """The signature is over time and body; another secret, body or an old time is refused."""
    hook = store.add("", receiver.url, ["budget.spent"])
    assert _publish(store)
    assert WebhookSender(store).tick(time.time_ns()) == 1
    headers, body = receiver.seen[0]
    assert verify(hook.secret, body, headers[HEADER], time.time())
    assert not verify("whsec_other", body, headers[HEADER], time.time())
    assert not verify(hook.secret, body + b" ", headers[HEADER], time.time())
    assert not verify(hook.secret, body, headers[HEADER], time.time() + 301)
    assert not verify(hook.secret, body, "nonsense", time.time())
    assert json.loads(body)["data"] == {"amount": "12.50"}
    assert headers["Metercast-Event"] == "e1"


def test_an_event_is_sent_once(store: WebhookStore, receiver: Receiver) -> None:
    """Entered twice, delivered once; hooks get only the kinds and users that they asked for."""
    store.add("", receiver.url, ["budget.spent"])
    store.add("", receiver.url, ["invoice.issued"])
    assert _publish(store)
    assert not _publish(store)
    sender = WebhookSender(store)
    sender.tick(time.time_ns())
    assert sender.tick(time.time_ns() + 10**15) == 0
    assert len(receiver.seen) == 1


def test_failures_are_sent_again_later_and_written_down(store: WebhookStore, receiver: Receiver) -> None:
    """500, then a redirect, then success: the same event and body, longer apart each time."""
    hook = store.add("", receiver.url, ["budget.spent"])
    receiver.statuses = [500, 302]
    _publish(store)
    sender, at_ns = WebhookSender(store, first_wait_s=5.0), time.time_ns()
    assert sender.tick(at_ns) == 1
    assert sender.tick(time.time_ns() + 4 * NANOSECONDS) == 0, "not before its time"
    assert sender.tick(time.time_ns() + 7 * NANOSECONDS) == 1
    assert sender.tick(time.time_ns() + 14 * NANOSECONDS) == 0
    assert sender.tick(time.time_ns() + 21 * NANOSECONDS) == 1
    assert [one.status for one in store.deliveries(hook.id)] == [204, 302, 500]
    assert len({body for _, body in receiver.seen}) == 1
    assert sender.tick(time.time_ns() + 10**15) == 0


def test_a_receiver_that_hangs_holds_up_no_other(store: WebhookStore, receiver: Receiver) -> None:
    """While one receiver takes its time, the others have their events."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store.add("", f"http://127.0.0.1:{silent.getsockname()[1]}/", ["budget.spent"])
        store.add("", receiver.url, ["budget.spent"])
        _publish(store)
        sending = threading.Thread(target=WebhookSender(store).tick, args=(time.time_ns(),))
        sending.start()
        held, _ = silent.accept()
        end_s = time.monotonic() + 20
        while not receiver.seen and time.monotonic() < end_s:
            time.sleep(0.01)
        assert sending.is_alive(), "the silent receiver is still waited for"
        assert len(receiver.seen) == 1
        held.close()
        sending.join()


def test_nobody_there_is_given_up_in_the_end(store: WebhookStore, receiver: Receiver) -> None:
    """No answer is status 0 with the reason; after the last attempt it is over."""
    receiver.server.shutdown()
    receiver.server.server_close()
    hook = store.add("", receiver.url, ["budget.spent"])
    _publish(store)
    sender = WebhookSender(store, first_wait_s=1e-6)
    for _ in range(ATTEMPTS + 3):
        sender.tick(time.time_ns() + 3600 * NANOSECONDS)
    tried = store.deliveries(hook.id)
    assert len(tried) == ATTEMPTS
    assert {one.status for one in tried} == {0}
    assert "refused" in tried[0].error.lower()


def test_a_thread_sends_by_itself(store: WebhookStore, receiver: Receiver) -> None:
    """What is published while the sender runs arrives."""
    store.add("", receiver.url, ["budget.spent"])
    sender = WebhookSender(store, every_s=0.02)
    sender.start()
    _publish(store)
    end = time.monotonic() + 20
    while not receiver.seen and time.monotonic() < end:
        time.sleep(0.02)
    sender.stop()
    assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://10.0.0.8/x",
        "https://169.254.169.254/latest",
        "https://localhost/x",
        "ftp://example.com/x",
        "https://user@127.0.0.1/x",
        "nonsense",
    ],
)
def test_a_tenants_hook_reaches_nothing_inside(url: str) -> None:
    """Loopback, private and link-local addresses, other schemes and plain HTTP are refused."""
    with pytest.raises(AddressError):
        check_address(url, inside_allowed=False)


def test_unknown_events_are_refused(store: WebhookStore) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=r"budget\.spent"):
        store.add("", "http://127.0.0.1/x", ["budget.lost"])


def test_signatures_are_as_documented() -> None:
    """t=SECONDS,v1=HMAC-SHA256(secret, "SECONDS.BODY"), computed here by hand."""
    expected = hmac.new(b"whsec_x", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert sign("whsec_x", b"{}", 1_700_000_000) == f"t=1700000000,v1={expected}"
