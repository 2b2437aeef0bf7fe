"""An ASGI application whose requests are operations stays the application it was, with either engine."""

import asyncio
import gc
import inspect

import pytest
from metercast.hooks.asgi import metered_application


class Application:
    """What a framework's application is to its server: an object that is called."""

    def __init__(self, work=None):
        self.work = work
        self.seen = []

    async def __call__(self, scope, receive, send):
        self.seen.append(scope)
        if self.work is not None:
            return await self.work()
        return "done"


@pytest.fixture
def metered(recorder):
    """The class of a metered application, and the recorder of its engine."""

    class Metered(Application):
        pass

    Metered.__call__ = metered_application(Application.__call__, recorder.engine)
    return Metered, recorder


def scope(path="/orders/17", kind="http", headers=((b"host", b"x"),)):
    return {"type": kind, "method": "GET", "path": path, "headers": list(headers)}


def test_it_is_taken_for_a_coroutine_function(metered):
    """Servers look at the call of an application to tell ASGI's generations apart."""
    kind, _ = metered
    assert inspect.iscoroutinefunction(kind.__call__)
    assert inspect.iscoroutinefunction(kind().__call__)
    assert kind.__call__.__name__ == "__call__"
    assert kind.__call__.__wrapped__ is Application.__call__


def test_a_request_is_an_operation_named_by_its_path(metered):
    """Its result passes, and the user is the one whom the first of the configured headers names."""
    kind, recorder = metered
    headers = [(b"x-user", b"ann"), (b"x-metercast-user", b""), (b"x-metercast-user", b"b\xe9a"), (b"x-user", b"eve")]
    assert asyncio.run(kind()(scope(headers=headers), None, None)) == "done"
    assert recorder.users() == {"GET /orders/{id}": "béa"}


def test_it_runs_as_a_task_and_by_keywords(metered):
    """Every form of calling and awaiting that a coroutine function knows."""
    kind, recorder = metered

    async def main():
        one = await asyncio.create_task(kind()(scope(), None, None))
        other = await kind()(scope=scope(), receive=None, send=None)
        return one, other, await asyncio.gather(*(kind()(scope(), None, None) for _ in range(3)))

    assert asyncio.run(main()) == ("done", "done", ["done"] * 3)
    assert recorder.take()["GET /orders/{id}"]["CPU_INSTRUCTION"]["units"] == 5


def test_other_scopes_and_requests_that_have_an_operation_pass_through(metered):
    """The lifespan is none, and an application mounted in another belongs to the outer request."""
    kind, recorder = metered
    inner = kind()
    outer = kind(lambda: inner(outer.seen[0], None, None))
    asyncio.run(inner(scope(kind="lifespan"), None, None))
    assert not recorder.take()
    assert asyncio.run(outer(scope("/a"), None, None)) == "done"
    totals = recorder.take()
    assert list(totals) == ["GET /a"]
    assert totals["GET /a"]["CPU_INSTRUCTION"]["units"] == 1


@pytest.mark.parametrize("error", [KeyError("x"), StopAsyncIteration(), asyncio.CancelledError()])
def test_an_error_closes_the_operation_and_passes(metered, error):
    """Whatever the application raises is the server's to see."""
    kind, recorder = metered

    async def fail():
        await asyncio.sleep(0)
        raise error

    async def main():
        with pytest.raises(type(error)):
            await kind(fail)(scope(), None, None)
        assert recorder.engine.current.get() is None

    asyncio.run(main())
    assert recorder.take()["GET /orders/{id}"]["CPU_INSTRUCTION"]["units"] == 1


def test_a_cancelled_request_ends_where_it_waited(metered):
    """The cancellation reaches the application, which may clean up."""
    kind, recorder = metered
    cleaned = []

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(recorder.engine.current.get().operation)

    async def main():
        task = asyncio.ensure_future(kind(wait)(scope(), None, None))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cleaned == ["GET {unrouted}"]
    assert recorder.take()["GET /orders/{id}"]["CPU_INSTRUCTION"]["units"] == 1


def test_a_request_that_is_closed_or_dropped_is_recorded(metered):
    """As a server does that gives up; one that never began is none."""
    kind, recorder = metered

    async def wait():
        await asyncio.sleep(0)

    closed, dropped, unbegun = (kind(wait)(scope(), None, None) for _ in range(3))
    closed.send(None)
    closed.close()
    dropped.send(None)
    del dropped
    unbegun.close()
    gc.collect()
    assert recorder.take()["GET /orders/{id}"]["CPU_INSTRUCTION"]["units"] == 2
    with pytest.raises(RuntimeError, match="reuse"):
        closed.send(None)
