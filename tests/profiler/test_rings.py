"""Records of many threads on their way to the shipper: each is taken once, in a row or in a total."""

import threading
from collections import Counter

import pytest

from tests.profiler.conftest import ENGINES

THREADS, RUNS = 12, 300


@pytest.mark.parametrize("capacity", [65_536, 64])
@pytest.mark.parametrize("recorder", ENGINES, indirect=True)
def test_threads_come_and_go_while_records_are_taken(recorder, capacity):
    """Nothing is lost and nothing is taken twice, and each thread's records come in their order while there is room."""
    engine = recorder.engine
    engine.capacity = capacity

    def work(number):
        execution = engine.enter(f"operation-{number}")
        for run in range(RUNS):
            engine.count(execution, "things", float(number * RUNS + run))
        engine.leave(execution)

    taken, totals = [], Counter()

    def take():
        taken.extend((record[1].operation, record[8]) for record in engine.take(700) if record[9] == "things")
        for (_, operation, _, meter), amounts in engine.take_totals():
            if meter == "things":
                totals[operation] += amounts[6]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for at in range(0, THREADS, 3):
        for thread in threads[at : at + 3]:
            thread.start()
        for _ in range(20):
            take()
        for thread in threads[at : at + 3]:
            thread.join()
    while engine.pending():
        take()
    take()
    for number in range(THREADS):
        numbers = [units for operation, units in taken if operation == f"operation-{number}"]
        assert numbers == sorted(set(numbers))
        if capacity > THREADS * RUNS:
            assert len(numbers) == RUNS
        assert sum(numbers) + totals[f"operation-{number}"] == sum(range(number * RUNS, (number + 1) * RUNS))
    assert (engine.dropped == 0) == (capacity > THREADS * RUNS)
