"""Web frameworks under `metercast run`: operations and users are found without a change to the program."""

import subprocess
import sys
import time

import pytest

from .conftest import ROOT, environment, read_batches
from .exactness.test_servers import Peer, billed, free_port, serve

FASTAPI = """
import asyncio, sys, threading, time, urllib.request
import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.responses import StreamingResponse
app = FastAPI()
router = APIRouter(prefix="/shop")
@router.get("/orders/{order}")
async def order(order: str):
    end = time.thread_time_ns() + 3_000_000
    while time.thread_time_ns() < end: pass
    await asyncio.sleep(0.001)
    return {"order": order}
app.include_router(router)
@app.get("/stream")
async def stream():
    async def parts():
        for _ in range(3):
            yield b"x" * 1000
    return StreamingResponse(parts())
inner = FastAPI()
@inner.get("/deep/{name}")
def deep(name: str):
    open(__file__).read()
    return name
app.mount("/sub", inner)
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", loop=sys.argv[1]))
thread = threading.Thread(target=server.run); thread.start()
while not server.started: time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
def get(path, user):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-User": user})
    return urllib.request.urlopen(request).read()
for n in range(5): get(f"/shop/orders/abc{n}", "ann")
assert len(get("/stream", "bob")) == 3000
get("/sub/deep/x", "cat")
try: get("/nowhere/17", "dan")
except urllib.error.HTTPError: pass
server.should_exit = True
thread.join()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_fastapi_routes_are_operations(metered, loop):
    """Templates of routes, mounts and routers name the operations; the header says who pays."""
    pytest.importorskip("fastapi")
    pytest.importorskip(loop)
    run = metered(FASTAPI, loop)
    found = {(e["operationID"], e["userID"]) for e in run.events}
    assert {
        ("GET /shop/orders/{order}", "ann"),
        ("GET /stream", "bob"),
        ("GET /sub/deep/{name}", "cat"),
        ("GET /nowhere/{id}", "dan"),
    } <= found
    assert run.total("units", "GET /shop/orders/{order}", "CPU_INSTRUCTION") == 5
    assert run.total("executionTimeMs", "GET /shop/orders/{order}", "CPU_INSTRUCTION") >= 15
    assert run.total("executionTimeMs", "GET /shop/orders/{order}", "WAIT") >= 4
    assert run.total("diskBytes", "GET /sub/deep/{name}", "DISK_READ") > 1000
    if loop == "asyncio" or run.engine == "compiled":
        assert run.total("networkBytes", "GET /stream", "NETWORK_SEND") > 3000
        assert run.total("networkBytes", "GET /shop/orders/{order}", "NETWORK_RECEIVE") > 100


FLASK = """
import threading, urllib.request, time
from flask import Flask, Response
from werkzeug.serving import make_server
app = Flask(__name__)
def burn(ms):
    end = time.thread_time_ns() + ms * 1_000_000
    while time.thread_time_ns() < end: pass
@app.get("/items/<int:number>")
def item(number):
    burn(2)
    return str(number)
@app.get("/parts")
def parts():
    def make():
        for _ in range(4):
            burn(2)
            yield b"part"
    return Response(make())
@app.get("/broken")
def broken():
    raise RuntimeError("no")
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
def get(path):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"X-User": "eve"})
    try: return urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as error: return error.code
print(get("/items/1"), get("/items/2"), get("/parts"), get("/broken"))
server.shutdown()
"""


def test_flask_rules_are_operations(metered):
    """Flask's rules name the operations, a streamed body belongs to its request, errors are billed as well."""
    pytest.importorskip("flask")
    run = metered(FLASK)
    assert run.output.strip() == "b'1' b'2' b'partpartpartpart' 500"
    assert {"GET /items/<int:number>", "GET /parts", "GET /broken"} <= run.operations()
    assert run.total("units", "GET /items/<int:number>", "CPU_INSTRUCTION", "eve") == 2
    assert run.total("executionTimeMs", "GET /parts", "CPU_INSTRUCTION") >= 8
    assert run.total("networkBytes", "GET /parts", "NETWORK_SEND") > 16


ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http": return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""
DJANGO = """
import django, sys
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
django.setup()
def order(request, number): return HttpResponse("x" * number)
def stream(request): return StreamingHttpResponse(b"part" for _ in range(3))
urlpatterns = [path("orders/<int:number>", order), path("stream", stream)]
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
asgi, wsgi = get_asgi_application(), get_wsgi_application()
"""


@pytest.mark.parametrize(
    ("text", "program", "paths", "names"),
    [
        (ASGI, ("-m", "uvicorn", "service:app", "--port", "{port}"), ["/items/17"], {"GET /items/{id}"}),
        (WSGI, ("--", "gunicorn", "service:app", "--bind", "127.0.0.1:{port}"), ["/items/17"], {"GET /items/{id}"}),
        (
            DJANGO,
            ("-m", "uvicorn", "service:asgi", "--port", "{port}"),
            ["/orders/5", "/stream"],
            {"GET /orders/<int:number>", "GET /stream"},
        ),
        (
            DJANGO,
            ("--", "gunicorn", "service:wsgi", "--bind", "127.0.0.1:{port}"),
            ["/orders/5", "/stream"],
            {"GET /orders/<int:number>", "GET /stream"},
        ),
    ],
    ids=["asgi", "wsgi", "django-asgi", "django-wsgi"],
)
def test_applications_of_every_kind_are_operations_under_their_servers(tmp_path, text, program, paths, names):
    """Django under ASGI and WSGI, and applications without any framework: routes, users and bytes are found."""
    (tmp_path / "service.py").write_text(text)
    port = free_port()
    process = serve(tmp_path, "auto", port, *(word.format(port=port) for word in program))
    peer = Peer(port)
    for path in paths:
        peer.ask("ann", path)
    peer.close()
    process.terminate()
    process.communicate(timeout=30)
    events = [event for batch in read_batches(tmp_path / "batches") for event in batch["events"]]
    assert names <= {event["operationID"] for event in events if event["userID"] == "ann"}
    assert billed(tmp_path)["ann"] == peer.counts["ann"]


CELERY = """
import pathlib, time
from celery import Celery
folder = pathlib.Path(__file__).parent / "queue"
folder.mkdir(exist_ok=True)
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(folder), "data_folder_out": str(folder), "control_folder": str(folder / "control"),
}
@app.task
def write(number):
    end = time.thread_time_ns() + 5_000_000
    while time.thread_time_ns() < end: pass
    (folder.parent / f"out-{number}").write_bytes(b"x" * 100)
@app.task(name="shop.fail")
def fail():
    raise RuntimeError("no")
"""
CLIENT = """
from metercast import operation
import tasks
with operation("ask", user="ann"):
    tasks.write.delay(1); tasks.fail.delay()
with operation("ask", user="bob"):
    tasks.write.delay(2)
"""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celery_tasks_are_operations_of_who_asked(tmp_path, pool):
    """Tasks are named as in Celery, also where they fail, and the user goes with the message."""
    pytest.importorskip("celery")
    (tmp_path / "tasks.py").write_text(CELERY)
    (tmp_path / "client.py").write_text(CLIENT)
    env = environment(METERCAST_TO="batches", METERCAST_CPU_BUDGET="1", PYTHONPATH=f"{ROOT / 'profiler'}:{tmp_path}")
    run = [sys.executable, "-m", "metercast.command", "run"]
    subprocess.run([*run, "client.py"], cwd=tmp_path, env=env, check=True, timeout=60)
    worker = subprocess.Popen(
        [*run, "--", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "1", "--without-mingle", "--without-gossip"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("out-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    worker.terminate()
    output = worker.communicate(timeout=60)[0].decode()
    events = [event for batch in read_batches(tmp_path / "batches") for event in batch["events"]]
    runs = {}
    for event in events:
        if event["meter"] == "executions":
            key = event["operationID"], event["userID"]
            runs[key] = runs.get(key, 0) + event["units"]
    wanted = {("tasks.write", "ann"): 1, ("tasks.write", "bob"): 1, ("shop.fail", "ann"): 1}
    assert {key: runs.get(key) for key in wanted} == wanted, output
    written = [e for e in events if e["operationID"] == "tasks.write" and e["microOperationType"] == "DISK_WRITE"]
    assert sum(event["resourceUsage"]["diskBytes"] for event in written) == 200
