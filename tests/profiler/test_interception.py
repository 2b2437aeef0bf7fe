"""Bytes of files, sockets, pipes and databases, compared with what the file system or the peer saw."""

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from .conftest import environment


def test_files_are_counted_to_the_byte(metered):
    """Buffered, raw, text, pathlib, os, copies and descriptors: what reached the file is what is billed."""
    run = metered(
        """
import os, pathlib, shutil
from metercast import operation
with operation("buffered"):
    with open("a", "wb") as f:
        for _ in range(1000): f.write(b"12345")
with operation("text"):
    pathlib.Path("b").write_text("żółw\\n" * 100, encoding="utf-8")
with operation("os"):
    fd = os.open("c", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 777); os.pwrite(fd, b"y" * 23, 777); os.close(fd)
with operation("append"):
    with open("c", "ab", buffering=0) as f: f.write(b"z" * 200)
with operation("read"):
    data = pathlib.Path("a").read_bytes()
with operation("lines"):
    lines = sum(1 for _ in open("b", encoding="utf-8"))
with operation("copy"):
    shutil.copyfile("a", "d")
print(len(data), lines)
"""
    )
    assert run.output == "5000 100\n"
    expected = {
        ("buffered", "DISK_WRITE"): 5000,
        ("text", "DISK_WRITE"): 800,
        ("os", "DISK_WRITE"): 800,
        ("append", "DISK_WRITE"): 200,
        ("read", "DISK_READ"): 5000,
        ("lines", "DISK_READ"): 800,
        ("copy", "DISK_READ"): 5000,
        ("copy", "DISK_WRITE"): 5000,
    }
    assert {key: run.total("diskBytes", *key) for key in expected} == expected


def test_bytes_are_told_by_what_they_came_through_though_another_thread_closed_it(metered):
    """A thread waits in a call on a descriptor, another closes it and opens a file under its number."""
    run = metered(
        """
import os, socket, threading, time
from metercast import operation
def wait_then_close(name, wait, descriptor, deliver):
    thread = threading.Thread(target=operation(name)(wait))
    thread.start()
    state = os.open(f"/proc/self/task/{thread.native_id}/stat", os.O_RDONLY)
    asleep = 0
    while asleep < 5:  # at five looks in a row: then it is in the call
        time.sleep(0.01)
        asleep = asleep + 1 if os.pread(state, 500, 0).rpartition(b")")[2].split()[0] == b"S" else 0
    os.close(descriptor)
    file = os.open("file", os.O_RDWR | os.O_CREAT)
    assert file == descriptor
    deliver()
    thread.join()
    os.close(state)
one, two = socket.socketpair()
wait_then_close("socket", lambda: one.recv(100), one.fileno(), lambda: two.send(b"x" * 33))
read, write = os.pipe()
wait_then_close("pipe", lambda: os.read(read, 100), read, lambda: os.write(write, b"x" * 44))
read, write = os.pipe()
raw = open(read, "rb", buffering=0, closefd=False)
wait_then_close("raw file", lambda: raw.read(100), read, lambda: (raw.close(), os.write(write, b"x" * 55)))
one.detach()
"""
    )
    assert run.code == 0, run.errors
    billed = {
        name: tuple(run.total(field, name) for field in ("networkBytes", "memoryBytes", "diskBytes"))
        for name in ("socket", "pipe", "raw file")
    }
    assert billed == {"socket": (33, 0, 0), "pipe": (0, 44, 0), "raw file": (0, 55, 0)}


def test_both_ends_of_a_socket_agree(metered):
    """What one thread sends is what the other receives, by every method of a socket."""
    run = metered(
        """
import socket, threading
from metercast import operation
a, b = socket.socketpair()
def reader():
    with operation("receiver"):
        buffer, got = bytearray(4096), 0
        while True:
            n = b.recv_into(buffer, nbytes=4096, flags=0) if got % 2 else len(b.recv(4096))
            if not n: return
            got += n
thread = threading.Thread(target=reader); thread.start()
with operation("sender"):
    a.send(b"x" * 100); a.sendall(b"y" * 100_001); a.sendmsg([b"12", b"345"])
    a.makefile("wb", buffering=0).write(b"z" * 50)
a.shutdown(socket.SHUT_WR)
thread.join()
"""
    )
    sent = 100 + 100_001 + 5 + 50
    assert run.total("networkBytes", "sender", "NETWORK_SEND") == sent
    assert run.total("networkBytes", "receiver", "NETWORK_RECEIVE") == sent


def test_asyncio_streams_are_counted_by_operation(metered):
    """A server that reads before it knows the operation bills the bytes to the operation that answers."""
    run = metered(
        """
import asyncio
from metercast import operation
async def serve(reader, writer):
    line = await reader.readline()
    with operation("answer", user="u1"):
        writer.write(line * 3)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with operation("ask", user="u2"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"h" * 999 + b"\\n")
        assert len(await reader.read()) == 3000
        writer.close()
    server.close()
asyncio.run(main())
"""
    )
    assert run.total("networkBytes", "answer", "NETWORK_RECEIVE") == 1000
    assert run.total("networkBytes", "answer", "NETWORK_SEND") == 3000
    assert run.total("networkBytes", "ask", "NETWORK_SEND") == 1000
    assert run.total("networkBytes", "ask", "NETWORK_RECEIVE") == 3000


def test_sqlite_writes_reach_the_bill(metered):
    """SQLite's writes are those that the kernel counted, at least the size of what was stored."""
    run = metered(
        """
import os, sqlite3
from metercast import operation
with operation("store"):
    connection = sqlite3.connect("t.db")
    connection.execute("create table t (x blob)")
    connection.executemany("insert into t values (?)", [(b"x" * 2000,)] * 100)
    connection.commit()
    connection.close()
with operation("load"):
    connection = sqlite3.connect("t.db")
    assert connection.execute("select sum(length(x)) from t").fetchone()[0] == 200_000
print(os.path.getsize("t.db"))
"""
    )
    assert run.total("diskBytes", "store", "DISK_WRITE") >= int(run.output)
    assert run.total("diskBytes", "load", "DISK_READ") >= 200_000


def test_pipes_of_a_subprocess_are_memory_and_not_disk(metered):
    """What goes to a child through pipes is neither network nor disk."""
    run = metered(
        """
import subprocess
from metercast import operation
with operation("sort"):
    out = subprocess.run(["cat"], input=b"x" * 5000, capture_output=True).stdout
assert len(out) == 5000
"""
    )
    assert run.total("memoryBytes", "sort", "MEMORY_WRITE") == 5000
    assert run.total("memoryBytes", "sort", "MEMORY_READ") >= 5000
    assert run.total("diskBytes", "sort") == 0


SERVER = """
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = open(__file__, "rb").read()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
import http.client
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sizes = {}
for path, user in (("/items/1", "ann"), ("/items/2", "ann"), ("/help?x=1", "bob")):
    raw = __import__("socket").create_connection(server.server_address)
    request = f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nX-User: {user}\\r\\nConnection: close\\r\\n\\r\\n".encode()
    raw.sendall(request)
    got = 0
    while data := raw.recv(65536):
        got += len(data)
    sizes[user] = [sizes.get(user, [0, 0])[0] + len(request), sizes.get(user, [0, 0])[1] + got]
server.shutdown()
print(sizes)
"""


def test_a_plain_web_service_is_metered_without_a_change(metered):
    """Requests of http.server are operations by route, the header names who pays, bytes are those on the wire."""
    run = metered(SERVER)
    sizes = eval(run.output)
    assert {"GET /items/{id}", "GET /help"} <= run.operations()
    for user, (asked, answered) in sizes.items():
        assert run.total("networkBytes", kind="NETWORK_RECEIVE", user=user) == asked
        assert run.total("networkBytes", kind="NETWORK_SEND", user=user) == answered
    assert run.total("units", "GET /items/{id}", "CPU_INSTRUCTION") == 2


def test_another_header_may_name_the_user(metered):
    """METERCAST_USER_HEADER takes one or more header names, the first found wins."""
    run = metered(SERVER, METERCAST_USER_HEADER="X-Tenant, x-user")
    assert run.total("events", user="ann") > 0


def test_open_still_behaves_like_open(metered):
    """Errors, modes, text layers and attributes of files are those of the standard library."""
    run = metered(
        """
import io, tempfile
from metercast import operation
with operation("x"):
    for bad in [("nosuch",), ("a", "rw"), ("a", "b"), ("a", "rb", -1, "utf-8")]:
        try: open(*bad)
        except Exception as e: print(type(e).__name__)
    f = open("a", "w+", newline="")
    print(type(f).__name__, f.mode, type(f.buffer).__name__, isinstance(f.buffer.raw, io.RawIOBase), f.name)
    print(f.write("ab\\r\\n"), f.seek(0), repr(f.read()), f.fileno() > 2)
    with tempfile.NamedTemporaryFile() as t: print(t.write(b"12"))
"""
    )
    assert run.output.splitlines() == [
        "FileNotFoundError",
        "ValueError",
        "ValueError",
        "ValueError",
        "TextIOWrapper w+ BufferedRandom True a",
        "4 0 'ab\\r\\n' True",
        "2",
    ]


def test_peers_that_are_not_metered_agree(metered, tmp_path):
    """A real HTTP peer in another process saw exactly the bytes that were billed."""
    seen = {}
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789"
        connection.sendall(reply)
        connection.close()
        seen.update(received=len(data), sent=len(reply))

    thread = threading.Thread(target=serve)
    thread.start()
    run = metered(
        "import sys, urllib.request\nfrom metercast import operation\n"
        "with operation('fetch'): urllib.request.urlopen(sys.argv[1]).read()",
        f"http://127.0.0.1:{listener.getsockname()[1]}/",
    )
    thread.join()
    assert run.total("networkBytes", "fetch", "NETWORK_SEND") == seen["received"]
    assert run.total("networkBytes", "fetch", "NETWORK_RECEIVE") == seen["sent"]
    assert http.client.HTTPConnection  # the metered program used its own, not this process's


TLS = """
import socket, ssl, sys, threading
from metercast import operation
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with operation("tls"):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
        with context.wrap_socket(plain) as secure:
            secure.sendall(b"x" * 1000)
            got = secure.recv(100)
print(len(got))
"""


def test_tls_counts_the_wire_with_the_compiled_engine(metered, tmp_path):
    """A forwarding peer sees the encrypted bytes; the compiled engine bills these, the other what is inside."""
    certificate = tmp_path / "both.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]
    files = ["-keyout", "both.pem", "-out", "c.pem"]
    made = subprocess.run([*request, *files], cwd=tmp_path, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    certificate.write_text(certificate.read_text() + (tmp_path / "c.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind, front = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    seen = {"in": 0, "out": 0}

    def serve():
        secure = context.wrap_socket(behind.accept()[0], server_side=True)
        data = 0
        while data < 1000:
            data += len(secure.recv(4096))
        secure.sendall(b"y" * 10)
        secure.close()

    def pump(source, target, way):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen[way] += len(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def forward():
        client = front.accept()[0]
        server = socket.create_connection(behind.getsockname())
        back = threading.Thread(target=pump, args=(server, client, "in"))
        back.start()
        pump(client, server, "out")
        back.join()

    threads = [threading.Thread(target=serve), threading.Thread(target=forward)]
    for thread in threads:
        thread.start()
    run = metered(TLS, front.getsockname()[1])
    for thread in threads:
        thread.join()
    assert run.output == "10\n"
    sent = run.total("networkBytes", "tls", "NETWORK_SEND")
    if run.engine == "compiled":
        assert sent == seen["out"] > 1000
        assert 10 < run.total("networkBytes", "tls", "NETWORK_RECEIVE") <= seen["in"]
    else:
        assert sent == 1000
        assert run.total("networkBytes", "tls", "NETWORK_RECEIVE") == 10


def test_a_library_of_an_unknown_version_is_left_alone(tmp_path):
    """A hook that does not fit what it finds never stops the program; that its area is not seen is told."""
    (tmp_path / "uvloop.py").write_text("version = 'of tomorrow'\n")
    script = tmp_path / "p.py"
    script.write_text("import uvloop; print(uvloop.version)")
    command = [sys.executable, "-m", "metercast.command", "run", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True, cwd=tmp_path)
    assert done.stdout == "of tomorrow\n"
    assert "not intercepted, of a version unknown here: uvloop" in done.stderr
