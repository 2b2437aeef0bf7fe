"""HTTP clients: the bytes that are billed are those that a peer in another process saw, to the byte."""

from __future__ import annotations

import json

import pytest

from .peers import Forwarder, http_server

CLIENTS = ("urllib", "http_client", "httpx", "httpx_async", "requests", "aiohttp", "uvloop")
BELOW_PYTHON = ("uvloop",)  # which calls the kernel from C: only the compiled engine sees it

PROGRAM = """
import asyncio, http.client, json, sys, urllib.request
import aiohttp, httpx, requests, uvloop
from metercast import operation
ports = json.loads(sys.argv[1])
BODY = b"b" * 123_457

def by_urllib(url):
    for data in (None, BODY):
        urllib.request.urlopen(urllib.request.Request(url, data)).read()

def by_http_client(url):
    connection = http.client.HTTPConnection(url[7:-1])
    for method, data in (("GET", None), ("POST", BODY), ("GET", None)):
        connection.request(method, "/", data)
        connection.getresponse().read()
    connection.close()

def by_httpx(url):
    with httpx.Client() as client:
        client.get(url); client.post(url, content=BODY)

def by_requests(url):
    with requests.Session() as session:
        session.get(url); session.post(url, data=BODY)

async def by_httpx_async(url):
    async with httpx.AsyncClient() as client:
        await asyncio.gather(client.get(url), client.post(url, content=BODY))

async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as reply: await reply.read()
        async with session.post(url, data=BODY) as reply: await reply.read()

async def awaited(name, function):
    with operation(name):
        await function(f"http://127.0.0.1:{ports[name]}/")
        await asyncio.sleep(0.01)  # connections close in callbacks

for name in ("urllib", "http_client", "httpx", "requests"):
    with operation(name):
        globals()["by_" + name](f"http://127.0.0.1:{ports[name]}/")
asyncio.run(awaited("httpx_async", by_httpx_async))
asyncio.run(awaited("aiohttp", by_aiohttp))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(awaited("uvloop", by_aiohttp))
"""


def test_http_clients_are_billed_what_the_peer_saw(metered):
    """urllib, http.client, httpx, requests and aiohttp, also on uvloop: both directions, headers and bodies."""
    for package in ("httpx", "requests", "aiohttp", "uvloop"):
        pytest.importorskip(package)
    server, end = http_server()
    peers = {name: Forwarder(server.server_address) for name in CLIENTS}
    run = metered(PROGRAM, json.dumps({name: peer.port for name, peer in peers.items()}))
    end()
    wire = {name: peer.close() for name, peer in peers.items()}
    billed = {
        name: (
            run.total("networkBytes", name, "NETWORK_SEND"),
            run.total("networkBytes", name, "NETWORK_RECEIVE"),
        )
        for name in CLIENTS
    }
    assert all(sent > 123_457 and received > 300_000 for sent, received in wire.values())
    if run.engine == "python":
        for name in BELOW_PYTHON:
            assert billed.pop(name) == (0, 0)
            wire.pop(name)
    assert billed == wire
