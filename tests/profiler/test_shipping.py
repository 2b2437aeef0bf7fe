"""Batches reach the server once and only once, whatever the server does, up to the limits that are stated."""

import gzip
import json
import ssl
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from metercast import operations
from metercast.settings import SETTINGS, Settings
from metercast.shipping.batch import Converter, encode
from metercast.shipping.delivery import ServerDelivery
from metercast.shipping.directory import DirectoryDelivery
from metercast.shipping.folding import Folding
from metercast.shipping.producer import Producer
from metercast.shipping.shipper import Shipper
from metercast.shipping.spool import Spool

from .conftest import ROOT, environment, read_batches
from .platform_server import Server

ROW = (time.time_ns(), "ann", "op", 7, "", 10, 0, 0, 100, 1.5, 0.0, 5, 0, "thread-clock")


@pytest.fixture
def server():
    """A server of this process."""
    running = Server()
    yield running
    running.close()


def delivery(url, tmp_path, **more):
    values = {"to": url, "spool": str(tmp_path / "spool"), "timeout_s": 2.0} | more
    return ServerDelivery(Settings(**values), Producer())


PROGRAM = """
from metercast import operation
for _ in range(300):
    with operation("write"):
        open("out", "wb").write(b"x" * 10)
"""


def run_program(tmp_path, url, text=PROGRAM, **more):
    script = tmp_path / "program.py"
    script.write_text(text)
    env = environment(**{"METERCAST_SPOOL": str(tmp_path / "spool"), "METERCAST_TIMEOUT_S": "2"} | more)
    command = [sys.executable, "-m", "metercast.command", "run", "--to", url, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_program_ships_to_a_server(server, tmp_path):
    """Everything recorded arrives by the end of the program."""
    run_program(tmp_path, server.url)
    assert server.total("disk_bytes", "write") == 3000


def test_a_server_in_trouble_gets_everything_once(server, tmp_path):
    """500, 429 and a connection cut after accepting: repeated under the same key, so that nothing counts twice."""
    server.answers = [500, "accept and hang up", 429, 503]
    run_program(tmp_path, server.url, METERCAST_BATCH_EVENTS="200", METERCAST_TIMEOUT_S="20")
    assert server.total("disk_bytes", "write") == 3000
    assert server.requests > len(server.batches)


def test_a_server_that_is_away_gets_the_batches_of_the_spool_later(tmp_path):
    """What could not be delivered waits on disk; the next run to the same server delivers it first."""
    first = Server()
    url, port = first.url, first.port
    first.close()
    done = run_program(tmp_path, url)
    assert "kept for later" in done.stderr
    again = Server(port)
    run_program(tmp_path, url)
    again.close()
    assert again.total("disk_bytes", "write") == 6000
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b'{"ok":true}', b'{"accepted":true}', b"[1]"])
def test_only_a_receipt_says_that_a_batch_was_delivered(tmp_path, server, body):
    """A proxy's page, or a program that has taken over the server's port, may say 200; the batch waits on disk."""

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        out = delivery(f"http://127.0.0.1:{stranger.server_address[1]}", tmp_path, timeout_s=30.0)
        out.put([ROW])
        stranger.shutdown()
    assert "no receipt of a Metercast server" in out.last_problem
    assert out.is_waiting()
    out.client = delivery(server.url, tmp_path / "b", timeout_s=30.0).client
    out._retry_at_s = 0.0
    while not out.work():
        out._retry_at_s = 0.0
    assert sum(rows.num_rows for rows in server.batches.values()) == 1


def test_an_end_that_takes_long_is_waited_for_while_it_gets_on_or_counted(tmp_path, server, recorder, monkeypatch):
    """Many batches wait in memory for a slow disk: each is on disk in the end, or told to be lost."""
    monkeypatch.setattr("metercast.shipping.ending._GRACE_S", 0.02)
    values = {"spool_limit_bytes": 1, "interval_s": 0.05, "batch_events": 20, "cpu_budget": 1.0}
    server.close()
    settings = Settings(to=server.url, spool=str(tmp_path / "spool"), control="off", **values)
    shipper = Shipper(recorder.engine, settings)
    shipper.start()
    for _ in range(1500):
        with operations.operation("op", user="ann"):
            operations.custom("things", 1)
    recorder.engine.is_on = False
    shipper.stop(0.0)
    again = Server(server.port)
    out = delivery(server.url, tmp_path)
    while not out.work():
        out._retry_at_s = 0.0
    again.close()
    assert again.total("units", meter="things") + shipper.lost.units.get("things", 0) == 1500


def test_a_refused_batch_is_set_aside_and_the_rest_goes_on(server, tmp_path):
    """400 means never: the batch is kept under `.refused` for its owner to see."""
    server.answers = [400]
    out = delivery(server.url, tmp_path)
    out.put([ROW])
    out.put([ROW])
    assert out.work()
    assert out.refused.events == 1
    assert len(server.batches) == 1
    assert len(list((tmp_path / "spool").rglob("*.refused"))) == 1


def test_beyond_the_spool_limit_totals_remain(tmp_path, server):
    """When disk and memory limits are reached detail goes, but every byte arrives once the server is back."""
    out = delivery("http://127.0.0.1:1", tmp_path, spool_limit_bytes=1)
    import metercast.shipping.delivery as module

    limit, module.MEMORY_LIMIT_BYTES = module.MEMORY_LIMIT_BYTES, 3000
    try:
        for _ in range(50):
            out.put([ROW] * 20)
    finally:
        module.MEMORY_LIMIT_BYTES = limit
    assert not out.folding.is_empty()
    out.client = delivery(server.url, tmp_path / "b").client
    out._retry_at_s = 0.0
    while not out.work():
        pass
    assert server.total("disk_bytes", "op") == 50 * 20 * 100
    sequences = sorted(key[2] for key in server.batches)
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_disk_without_room_keeps_totals_for_the_next_try(tmp_path):
    """A directory that cannot be written to loses no amount."""
    out = DirectoryDelivery(str(tmp_path / "out"), Producer())
    out.spool.limit_bytes = 1
    out.put([ROW] * 3)
    assert "limit of 1 bytes" in out.last_problem
    out.spool.limit_bytes = 0
    out.put([ROW])
    events = [event for batch in read_batches(tmp_path / "out") for event in batch["events"]]
    assert sum(event["resourceUsage"]["diskBytes"] for event in events) == 400


def test_folding_keeps_every_amount():
    """A total is the sum of its rows and says how many it stands for."""
    folding = Folding()
    folding.add([ROW, ROW, (*ROW[:1], "bob", *ROW[2:])])
    rows = {row[1]: row for row in folding.take()}
    assert rows["ann"][5:11] == (20, 0, 0, 200, 3.0, 0.0)
    assert rows["ann"][13] == "thread-clock aggregate of 2"
    assert folding.is_empty()


def test_a_batch_is_the_documented_form():
    """The text put together by hand is the JSON of the wire form, whatever the names contain."""
    row = (1_500_000_000 * 10**9, 'a"\\\n', "ż/{id}", 10, "tokens", 1, 2, 3, 4, 5.5, 6.0, 7, 8, "thread-clock")
    batch = json.loads(gzip.decompress(encode("p", 1, 2, [row])))
    assert batch == {
        "producer": "p",
        "epoch": 1,
        "sequence": 2,
        "events": [
            {
                "timestamp": 1.5e9,
                "operationID": "ż/{id}",
                "microOperationType": "CUSTOM",
                "resourceUsage": {
                    "cpuCycles": 1,
                    "memoryBytes": 2,
                    "networkBytes": 3,
                    "diskBytes": 4,
                    "executionTimeMs": 5.5,
                },
                "userID": 'a"\\\n',
                "executionID": 7,
                "parentExecutionID": 8,
                "units": 6.0,
                "meter": "tokens",
                "source": "thread-clock",
            }
        ],
    }


def test_detail_per_call_keeps_each_call(recorder):
    """METERCAST_DETAIL=call ships an event a call; per execution they are summed to the byte."""
    engine = recorder.engine
    execution = engine.open("op")
    records = [(1, execution, 7, 5, 0, 0, size, 1, 0.0, "") for size in (1, 2, 3)]
    engine.close(execution)
    assert [row[8] for row in Converter("call").rows(records)] == [1, 2, 3]
    assert [row[8] for row in Converter("execution").rows(records)] == [6]


def test_a_spool_never_shows_half_a_batch(tmp_path):
    """Files appear under their final name when complete, oldest first, within the limit."""
    spool = Spool(str(tmp_path), limit_bytes=10)
    assert spool.put("b", b"12345")
    assert spool.put("a", b"12345")
    assert not spool.put("c", b"1")
    assert spool.names() == ["b.json.gz", "a.json.gz"]


def test_settings_come_from_the_environment_and_name_their_errors(monkeypatch):
    """A malformed variable is named with its value and what would do."""
    monkeypatch.setenv("METERCAST_INTERVAL_S", "2.5")
    assert Settings.from_environment(user="x").interval_s == 2.5
    monkeypatch.setenv("METERCAST_RING_CAPACITY", "many")
    with pytest.raises(ValueError, match="METERCAST_RING_CAPACITY='many'"):
        Settings.from_environment()
    monkeypatch.setenv("METERCAST_RING_CAPACITY", "-1")
    with pytest.raises(ValueError, match="above 0"):
        Settings.from_environment()


def test_the_readme_lists_every_setting():
    """The table of the README is the table of the settings."""
    text = (ROOT / "profiler" / "README.md").read_text()
    for _, variable, _, default, meaning in SETTINGS:
        assert f"| `{variable}` | {f'`{default}`' if default not in ('', False) else ''} | {meaning} |" in text


def test_retry_after_is_honoured(server, tmp_path):
    """Seconds and dates: nothing is sent before, and a server that asks to wait beyond the deadline is left alone."""
    out = delivery(server.url, tmp_path)
    server.answers = [(429, {"Retry-After": "1"})]
    asked_s = time.monotonic()
    out.put([ROW])
    assert not out.work()
    assert not out.work(until_s=time.monotonic() + 0.3)
    assert server.requests == 1
    assert out.work(until_s=time.monotonic() + 20)
    assert time.monotonic() - asked_s >= 1.0
    server.answers = [(503, {"Retry-After": formatdate(time.time() + 3000, usegmt=True)})]
    out.put([ROW])
    assert 2900 < out._asked_to_wait_until_s - time.monotonic() <= 3000
    server.answers = [(503, {"Retry-After": "soon"})]
    out._asked_to_wait_until_s = out._retry_at_s = 0.0
    assert not out.work()
    assert out._asked_to_wait_until_s == 0.0
    assert out.work(until_s=time.monotonic() + 20)
    assert server.total("disk_bytes") == 200


def test_waits_grow_and_differ(tmp_path):
    """Between attempts the wait doubles up to half a minute, and is never the same for two programs."""
    waits = []
    for number in range(2):
        out = delivery("http://127.0.0.1:1", tmp_path / str(number))
        out.put([ROW])
        for _ in range(9):
            out._retry_at_s = 0.0
            begun_s = time.monotonic()
            out.work()
            waits.append(out._retry_at_s - begun_s)
    assert 0.25 < waits[0] <= 0.6
    assert 15.0 <= waits[8] <= 30.1
    assert waits[:9] != waits[9:]


def test_rows_that_the_server_does_not_take_are_counted(tmp_path):
    """An accepted batch may have rejected rows: they are told, not forgotten."""
    from metercast.shipping.client import ACCEPTED, _accepted

    reply = _accepted(202, b'{"accepted": 1, "rejected": [{"row": 3, "reason": "too old"}]}')
    assert (reply.outcome, reply.rejected_events) == (ACCEPTED, 1)
    assert "too old" in reply.reason
    assert _accepted(202, b'{"accepted": 2, "rejected": null}').rejected_events == 0


def test_the_ring_is_emptied_while_the_server_hangs(server, tmp_path):
    """A server that does not answer costs time, not detail: records are taken off the ring meanwhile."""
    server.answers = ["hang"] * 3
    done = run_program(
        tmp_path,
        server.url,
        METERCAST_RING_CAPACITY="300",
        METERCAST_INTERVAL_S="0.05",
        METERCAST_TIMEOUT_S="10",
        text="""
import time
from metercast import custom, operation
for _ in range(600):
    with operation("write"):
        custom("things", 1)
    time.sleep(0.004)
""",
    )
    assert "lost" not in done.stderr
    assert server.total("units", "write", meter="things") == 600
    assert server.total("units", meter="dropped_events") == 0


def test_tls_and_key(tmp_path):
    """Batches go over TLS to a server whose certificate is known, with the key; to a stranger nothing is sent."""
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    request += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    if subprocess.run(request, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("openssl cannot make a certificate here")
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    url = f"https://localhost:{server.port}"
    trusted = {"METERCAST_CA_FILE": str(tmp_path / "cert.pem"), "METERCAST_API_KEY": "k-123"}
    strange = run_program(tmp_path, url, METERCAST_TIMEOUT_S="1")
    assert "certificate" in strange.stderr
    assert server.requests == 0
    run_program(tmp_path, url, **trusted)
    server.close()
    assert server.total("disk_bytes", "write") == 6000
    assert ("Authorization", "Bearer k-123") in server.headers
