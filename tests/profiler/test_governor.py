"""The governor gives up detail in steps while metering is too dear, and takes it back when there is room."""

import time

from metercast.shipping.governor import Governor

BUDGET = 0.01


def judged(governor, own_share):
    """The governor's word after a round in which metering took that share of some CPU."""
    begun_ns = time.process_time_ns()
    while time.process_time_ns() - begun_ns < 51_000_000:
        pass
    return governor.judge(10, 0, int(own_share * 52_000_000))


def test_detail_goes_step_by_step_and_comes_back(recorder):
    """Clocks first where the engine has a choice of them, then single records; back in the other order."""
    engine = recorder.engine
    governor = Governor(engine, BUDGET)
    assert judged(governor, 0.005) is None
    told = [judged(governor, 0.2) for _ in range(3)]
    steps = ["records with coarse clocks", "totals"] if hasattr(engine, "clock") else ["totals"]
    assert [text.partition(",")[0] for text in told if text] == [f"detail: {step}" for step in steps]
    assert "of 1.0%" in told[0]
    assert engine.sums_up
    back = []
    for _ in range(6 + 12 + 1):
        back.append(judged(governor, 0.001))
    expected = ["detail: records with coarse clocks", "detail: records"] if len(steps) == 2 else ["detail: records"]
    assert [text.partition(",")[0] for text in back if text] == expected
    assert not engine.sums_up
    assert getattr(engine, "clock", "adaptive") == "adaptive"


def test_a_share_within_the_budget_changes_nothing(recorder):
    """Below the budget every record is kept."""
    governor = Governor(recorder.engine, BUDGET)
    assert [judged(governor, 0.009) for _ in range(3)] == [None] * 3
    assert not recorder.engine.sums_up
