"""TCP bytes that no operation was charged for: what was charged and what was not is what the kernel moved."""

import pytest

PROGRAM = """
import contextvars, ctypes, json, os, socket, sys, threading
import metercast
from metercast import operation
libc = ctypes.CDLL(None)  # its functions come by `dlsym`, past every hook
listening = socket.create_server(("127.0.0.1", 0))
def pair():
    client = socket.create_connection(listening.getsockname())
    return client, listening.accept()[0]
def receive(connection, size):
    while size: size -= len(connection.recv(min(size, 65536)))
def past_the_hooks(connection, size):
    data = b"x" * size
    while size: size -= libc.send(connection.fileno(), data, size, 0)
def outside(work, *arguments):
    thread = threading.Thread(target=lambda: contextvars.Context().run(work, *arguments))
    contextvars.Context().run(thread.start)
    thread.join()
"""

SEEN = """
with operation("work"):
    for size in (1, 1_000, 300_000):
        client, server = pair()
        sending = threading.Thread(target=client.sendall, args=(b"x" * size,)); sending.start()
        receive(server, size); sending.join()
        server.send(b"done"); receive(client, 4)
        client.shutdown(socket.SHUT_WR); server.recv(1)
        client.close(); server.close()
"""

PAST = """
with operation("work"):
    client, server = pair()
    client.sendall(b"x" * 5_000); receive(server, 5_000)
    past_the_hooks(client, 70_001); receive(server, 70_001)
    server.sendall(b"y" * 123); libc.recv(client.fileno(), ctypes.create_string_buffer(123), 123, 0)
    client.close(); server.close()
"""

OPEN = """
with operation("work"):
    client, server = pair()
    past_the_hooks(client, 4_321); receive(server, 4_321)
    server.sendall(b"never read")
"""

OUTSIDE = """
def work(client, server):
    client.sendall(b"z" * 2_000); receive(server, 2_000)
    os.sendfile(client.fileno(), os.open(__file__, os.O_RDONLY), 0, 100); receive(server, 100)
with operation("work"):
    client, server = pair()
    client.sendall(b"z" * 10); receive(server, 10)
outside(work, client, server)
outside(client.close); outside(server.close)
"""

STAYS_OPEN = """
with operation("work"):
    client, server = pair()
    past_the_hooks(client, 4_321); receive(server, 4_321)
for _ in range(10):  # a flush may join a round under way, and only two quiet looks in a row tell of a connection
    with operation("work"): metercast.flush(30)
os.kill(os.getpid(), 9)
"""

SHARED = """
with operation("work"):
    for share in ("dup", "fcntl", "pass on", "fork"):
        client, server = pair()
        if share == "dup": other = socket.socket(fileno=os.dup(client.fileno()))
        if share == "fcntl": other = client.dup()
        if share == "pass on":
            here, there = socket.socketpair()
            socket.send_fds(here, [b"-"], [client.fileno()])
            other = socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0])
        if share == "fork":
            child = os.fork()
            if child == 0:
                client.sendall(b"x" * 1_000)
                os._exit(0)
            os.waitpid(child, 0)
        else:
            other.sendall(b"x" * 1_000)
            other.close()
        receive(server, 1_000)
        client.close(); server.close()
"""

PAUSED = """
with operation("work"):
    client, server = pair()
    client.sendall(b"x" * 10); receive(server, 10)
    metercast.pause("test")
    client.sendall(b"x" * 1_000); receive(server, 1_000)
    metercast.resume("test")
    client.sendall(b"x" * 10); receive(server, 10)
    past_the_hooks(client, 77); receive(server, 77)
    client.close(); server.close()
"""


@pytest.mark.parametrize("metered", ["compiled"], indirect=True)  # the Python engine does not ask the kernel
@pytest.mark.parametrize(
    ("text", "sent", "received", "sent_past", "received_past"),
    [
        (SEEN, 301_013, 301_013, 0, 0),
        (PAST, 5_123, 75_001, 70_001, 123),
        (OPEN, 10, 4_321, 4_321, 10),
        (OUTSIDE, 10, 10, 2_100, 2_100),
        (SHARED, 4_001, 4_001, 0, 0),
        (PAUSED, 20, 97, 77, 0),
    ],
    ids=["seen", "past the hooks", "never closed", "outside of operations", "shared", "paused"],
)
def test_charged_and_unattributed_bytes_are_those_of_the_connection(
    metered, text, sent, received, sent_past, received_past
):
    """What no hook sees, and what works for no operation, is unattributed to the byte; and nothing else is."""
    run = metered(PROGRAM + text)
    assert run.code == 0, run.errors
    charged = {kind: run.total("networkBytes", "work", f"NETWORK_{kind}") for kind in ("SEND", "RECEIVE")}
    assert charged == {"SEND": sent, "RECEIVE": received}
    assert unattributed(run) == {"received": received_past, "sent": sent_past}


@pytest.mark.parametrize("metered", ["compiled"], indirect=True)
def test_an_open_connection_is_compared_at_flushes(metered):
    """What a connection that stays open moved past the hooks is told by flushes, not only at its end."""
    run = metered(PROGRAM + STAYS_OPEN, code=-9)
    assert unattributed(run) == {"received": 0, "sent": 4_321}
    assert run.total("networkBytes", "work", "NETWORK_RECEIVE") == 4_321


def unattributed(run):
    """Bytes that are told as nobody's, from what the kernel counted for connections."""
    found = {"received": 0, "sent": 0}
    for event in run.events:
        if event["microOperationType"] == "UNATTRIBUTED" and event["source"] == "TCP_INFO":
            found[event["meter"].removeprefix("unattributed_")] += event["resourceUsage"]["networkBytes"]
    return found
