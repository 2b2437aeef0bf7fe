"""Bytes that operations allocate: the interpreter's and NumPy's, each once, and for whom they were allocated."""

import pytest

PROGRAM = """
import threading
from metercast import operation
def kept(size): return bytes(size)
with operation("nothing"):
    pass
with operation("large"):
    blocks = [kept(1_000_000) for _ in range(5)]
rounds = [None] * 10_000
with operation("small"):
    for _ in rounds: object()
with operation("grown"):
    grown = bytearray(1_000)
    grown.extend(bytes(2_000_000))
def work():
    with operation("thread"):
        kept(3_000_000)
thread = threading.Thread(target=work)
thread.start()
thread.join()
with operation("outer"):
    kept(1_000_000)
    with operation("inner"):
        kept(4_000_000)
"""
NUMPY = """
import numpy
from metercast import operation
from concurrent.futures import ThreadPoolExecutor
with operation("empty"):
    numpy.empty(1_000_000)
with operation("zeros"):
    numpy.zeros((1_000, 1_000))
with operation("sum"):
    one, other = numpy.ones(500_000), numpy.ones(500_000)
    both = one + other
with operation("pool"), ThreadPoolExecutor(1) as pool:
    pool.submit(numpy.empty, 2_000_000).result()
with operation("resized"):
    array = numpy.zeros(1_000)
    array.resize(300_000, refcheck=False)
"""
SLACK_BYTES = 60_000
"""What the statements around an allocation allocate themselves, at most."""


def allocated(run, operation):
    """Bytes that an operation allocated."""
    return run.total("memoryBytes", operation, "MEMORY_ALLOC")


def test_allocations_are_counted_once_and_for_their_operation(metered):
    """Blocks of any size, in threads and nested operations; one that comes from an allocator below counts once."""
    run = metered(PROGRAM, METERCAST_ALLOCATIONS="1")
    if run.engine == "python":
        assert run.total("events", kind="MEMORY_ALLOC") == 0
        return
    expected = {
        "nothing": 0,
        "large": 5_000_000,
        "small": 10_000 * object().__sizeof__(),
        "grown": 4_000_000,
        "thread": 3_000_000,
        "outer": 1_000_000,
        "inner": 4_000_000,
    }
    for operation, size in expected.items():
        assert size <= allocated(run, operation) < size + SLACK_BYTES, operation


def test_arrays_of_numpy_are_counted(metered):
    """Arrays made empty, zeroed, by arithmetic, resized, and in a pool's thread, which has a context of its own."""
    pytest.importorskip("numpy")
    run = metered(NUMPY, METERCAST_ALLOCATIONS="1")
    if run.engine == "python":
        return
    expected = {"empty": 8_000_000, "zeros": 8_000_000, "sum": 12_000_000, "pool": 16_000_000, "resized": 2_408_000}
    for operation, size in expected.items():
        assert size <= allocated(run, operation) < size + SLACK_BYTES, operation


def test_allocations_are_not_counted_unasked(metered):
    """Without the setting there are no such events."""
    run = metered(PROGRAM)
    assert run.total("events", kind="MEMORY_ALLOC") == 0


def test_a_table_that_is_not_numpys_is_refused():
    """What stands in the place of the handler is looked at before it is changed."""
    engine = pytest.importorskip("metercast._engine").Engine()
    with pytest.raises(ValueError, match="Capsule"):
        engine.count_numpy(object())
