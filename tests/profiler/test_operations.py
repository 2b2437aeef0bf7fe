"""Operations: what they cover, who pays, and that their parts add up."""

import asyncio
import time

import pytest
from metercast import custom, metered, operation, set_user
from metercast.runtime import engine


def burn(milliseconds):
    """Use CPU of this thread."""
    end = time.thread_time_ns() + int(milliseconds * 1e6)
    while time.thread_time_ns() < end:
        pass


def total_cpu(parts):
    return sum(part["cpu_ns"] for part in parts.values())


def test_a_block_is_charged_the_cpu_it_used(recorder):
    """The CPU charged to an operation is what the thread clock says passed inside it."""
    before = time.thread_time_ns()
    with operation("job"):
        burn(5)
    spent = time.thread_time_ns() - before
    charged = total_cpu(recorder.take()["job"])
    assert 5_000_000 <= charged <= spent


def test_nested_operations_share_out_cpu_exactly(recorder):
    """A child's CPU is not its parent's as well: together they are what the thread used, to the boundary."""
    before = time.thread_time_ns()
    with operation("outer"):
        burn(4)
        with operation("inner"):
            burn(8)
        burn(4)
    spent = time.thread_time_ns() - before
    totals = recorder.take()
    outer, inner = total_cpu(totals["outer"]), total_cpu(totals["inner"])
    assert outer >= 8_000_000
    assert inner >= 8_000_000
    assert outer < 12_000_000 or inner < 12_000_000
    assert spent - 500_000 <= outer + inner <= spent


def test_sleeping_is_waiting_and_not_cpu(recorder):
    """Time without CPU is recorded as WAIT."""
    with operation("nap"):
        time.sleep(0.05)
    parts = recorder.take()["nap"]
    assert parts["WAIT"]["duration_ns"] >= 45_000_000
    assert total_cpu(parts) < 20_000_000


def test_an_exception_closes_the_operation_and_passes(recorder):
    """An operation that fails is billed for what it used and the error is the program's."""

    @operation("failing")
    def fail():
        burn(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert recorder.engine.current.get() is None
    assert total_cpu(recorder.take()["failing"]) >= 1_000_000


def test_each_run_is_counted_once(recorder):
    """The meter `executions` counts the runs of an operation."""
    for _ in range(3):
        with operation("job"):
            pass
    assert recorder.take()["job"]["CPU_INSTRUCTION"]["units"] == 3


def test_the_user_comes_from_the_nearest_that_names_one(recorder):
    """Explicit user first, then set_user, then the enclosing operation, then the default."""
    recorder.engine.default_user = "nobody"
    with operation("a", user="acme"), operation("b"):
        pass
    with operation("c"):
        pass
    with operation("d"):
        set_user("zoe")
    recorder.engine.user.set("")
    assert recorder.users() == {"a": "acme", "b": "acme", "c": "nobody", "d": "zoe"}


def test_one_object_meters_one_block_at_a_time(recorder):
    """Entering an open operation again says what to do instead."""
    block = operation("job")
    with block, pytest.raises(RuntimeError, match="Write operation"):
        block.__enter__()


def test_custom_amounts_must_be_amounts(recorder):
    """Negative and infinite units are refused by value."""
    with operation("job"):
        custom("tokens", 12)
        for bad in (-1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="tokens"):
                custom("tokens", bad)
    assert recorder.take()["job"]["CUSTOM"]["units"] == 12


def test_decorated_functions_keep_name_result_and_errors(recorder):
    """The decorator is invisible but for the metering."""

    @operation("double")
    def double(value):
        """Twice."""
        return value * 2

    @metered
    def triple(value):
        return value * 3

    assert (double(4), triple(2), double.__doc__) == (8, 6, "Twice.")
    totals = recorder.take()
    assert "double" in totals
    assert any(name.endswith("triple") for name in totals)


def test_a_generator_is_charged_for_its_own_steps_only(recorder):
    """The caller's CPU between two items is the caller's; values sent and returned pass through."""

    @operation("numbers")
    def numbers():
        sent = []
        for value in range(3):
            burn(1)
            sent.append((yield value))
        return sent

    with operation("caller"):
        generator = numbers()
        assert next(generator) == 0
        burn(6)
        assert generator.send("x") == 1
        assert generator.send("y") == 2
        with pytest.raises(StopIteration) as end:
            generator.send("z")
    assert end.value.value == ["x", "y", "z"]
    totals = recorder.take()
    assert 3_000_000 <= total_cpu(totals["numbers"]) < 6_000_000
    assert total_cpu(totals["caller"]) >= 6_000_000
    assert totals["numbers"]["CPU_INSTRUCTION"]["units"] == 1


def test_a_generator_closed_early_is_recorded(recorder):
    """Leaving a loop early closes the generator's operation."""

    @operation("numbers")
    def numbers():
        yield 1
        yield 2

    for _ in numbers():
        break
    assert recorder.take()["numbers"]["CPU_INSTRUCTION"]["units"] == 1
    assert recorder.engine.current.get() is None


def test_async_functions_and_generators(recorder):
    """Coroutine functions and async generators are metered, and asend passes through."""

    @operation("items")
    async def items():
        got = yield 1
        assert got == "hello"
        await asyncio.sleep(0)
        yield 2

    @operation("handler")
    async def handler():
        generator = items()
        first = await anext(generator)
        second = await generator.asend("hello")
        await generator.aclose()
        return first, second

    assert asyncio.run(handler()) == (1, 2)
    totals = recorder.take()
    assert set(totals) == {"items", "handler"}
    assert totals["items"]["CPU_INSTRUCTION"]["units"] == 1


def test_without_start_an_operation_records_nothing():
    """A library may carry marks: unmetered programs pay next to nothing and keep nothing."""
    assert not engine.is_on
    with operation("idle"):
        custom("tokens", 1)

    @operation("steps")
    def steps():
        yield from (1, 2)

    assert list(steps()) == [1, 2]
    assert engine.pending() == 0
