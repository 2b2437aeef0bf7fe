"""Web frameworks under `metercast run`: operations and users are found without a change to the program."""

import pytest

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
