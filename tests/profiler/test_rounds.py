"""When the shipping thread works: soon where much is recorded, seldom where little is, and at once when asked."""

import time

import pytest
from metercast.settings import Settings
from metercast.shipping.shipper import Shipper


@pytest.fixture
def shipping(recorder, tmp_path):
    """(engine, shipper, looks): `looks` has the number of the look at which each batch was handed over."""
    engine = recorder.engine
    shipper = Shipper(engine, Settings(to=str(tmp_path / "batches"), interval_s=0.1, control="off", cpu_budget=1000.0))
    looks, put = [], shipper.delivery.put

    def noting(rows, records=0):
        looks.append(engine.tick)
        put(rows, records)

    shipper.delivery.put = noting
    shipper.start()
    yield engine, shipper, looks
    shipper.stop()


def record(engine, runs):
    """Some runs of an operation."""
    for _ in range(runs):
        engine.leave(engine.enter("op", "ann"))


def first_of(looks, limit_s=20):
    """The look of the first batch."""
    end_s = time.monotonic() + limit_s
    while not looks and time.monotonic() < end_s:
        time.sleep(0.01)
    return looks[0]


def test_what_is_worth_a_batch_is_shipped_at_the_next_look(shipping):
    """Some hundred records do not wait."""
    engine, _, looks = shipping
    begun = engine.tick
    record(engine, 400)
    assert first_of(looks) - begun <= 2


def test_little_waits_but_not_for_long(shipping):
    """A single run is shipped after three looks at the latest."""
    engine, _, looks = shipping
    begun = engine.tick
    record(engine, 1)
    assert first_of(looks) - begun <= 4


def test_an_idle_program_is_looked_at_and_left_alone(shipping):
    """Looks without anything recorded make no batches."""
    engine, _, looks = shipping
    begun = engine.tick
    end_s = time.monotonic() + 20
    while engine.tick < begun + 8 and time.monotonic() < end_s:
        time.sleep(0.05)
    assert engine.tick >= begun + 8
    assert not looks


def test_a_flush_does_not_wait(shipping):
    """Who asks gets a batch at once, however little there is."""
    engine, shipper, looks = shipping
    record(engine, 1)
    assert shipper.flush(20)
    assert len(looks) == 1


def test_the_engine_counts_what_it_has_recorded(recorder):
    """Kept one by one, in totals and dropped: each record counts once."""
    engine = recorder.engine
    begun = engine.recorded()
    record(engine, 10)
    assert engine.recorded() - begun == engine.pending() == len(engine.take(1000))
    one_by_one = engine.recorded()
    engine.sums_up = True
    record(engine, 10)
    engine.sums_up = False
    summed = sum(amounts[0] for _, amounts in engine.take_totals())
    assert engine.recorded() - one_by_one == summed > 0
