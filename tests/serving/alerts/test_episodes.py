"""Episodes in the tree: one alert a line, offsets and dilution hide nothing, money decides who is told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from serving.alerts.anomaly import EVERYONE, SPEND, SPEND_A_RUN, WHOLE, Anomaly
from serving.alerts.episodes import QUIET_WINDOWS, Episodes, Reading
from serving.alerts.gate import Gate

MINUTE_NS = 60_000_000_000
USUAL = (90.0, 100.0, 110.0)


def price(_operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
    """A cent for each unit of anything."""
    return Decimal(f"{sum(excess.values()) / 100:.6f}"), "USD"


def episodes(daily_spend: float = 0.0) -> Episodes:
    """Of windows of a minute."""
    return Episodes(60, price, Gate(), lambda _user: daily_spend)


def reading(user: str, operation: str, value: float, severity: float = 3.0, micro: str = "CPU_INSTRUCTION") -> Reading:
    """Usage of a micro-operation of which 100 a run is usual."""
    return Reading(user, operation, micro, "cpu_cycles", value, 2.0 if user == EVERYONE else 1.0, severity, USUAL)


def spend(user: str, operation: str, value: float, severity: float = 3.0, resource: str = SPEND) -> Reading:
    """Money of a window of which 100 is usual."""
    return Reading(user, operation, WHOLE, resource, value, 1.0, severity, USUAL)


def open_ones(found: list[Anomaly]) -> set[tuple[str, str]]:
    """(user, operation) of anomalies that have not ended."""
    return {(one.user, one.operation) for one in found if one.ended_ns is None}


def test_a_leaf_tells_for_its_parents() -> None:
    """What an operation explains opens nothing more for its user, nor for all."""
    found = episodes().follow(
        [reading("ada", "pay", 500), spend("ada", WHOLE, 500), spend(EVERYONE, WHOLE, 500)], MINUTE_NS
    )
    assert open_ones(found) == {("ada", "pay")}


def test_dilution_hides_nothing() -> None:
    """A parent that stands out alone opens its own episode, and tells which operations it is made of."""
    found = episodes().follow(
        [spend("ada", WHOLE, 500), spend("ada", "pay", 130, 0.2), spend("ada", "list", 110, 0.2)], MINUTE_NS
    )
    assert open_ones(found) == {("ada", WHOLE)}
    assert [(what, name) for what, name, _ in found[0].causes] == [("operation", "pay"), ("operation", "list")]
    assert abs(found[0].causes[0][2] - 0.75) < 1e-9


def test_a_leaf_found_later_takes_the_wider_episode_over() -> None:
    """The episode keeps its identity and its alert, and goes on under the narrower name."""
    watch = episodes()
    wide = watch.follow([spend("ada", WHOLE, 500)], MINUTE_NS)[0]
    narrow = watch.follow([reading("ada", "pay", 500)], 2 * MINUTE_NS)
    assert [(one.id, one.operation) for one in narrow] == [(wide.id, "pay")]
    assert narrow[0].paged_ns == wide.paged_ns


def test_offsets_hide_nothing() -> None:
    """A micro-operation that doubles is told of though another halves and the run costs the same."""
    found = episodes().follow(
        [
            reading("ada", "pay", 200),
            reading("ada", "pay", 0, micro="NETWORK_SEND"),
            spend("ada", "pay", 100, 0.0, SPEND_A_RUN),
        ],
        MINUTE_NS,
    )
    assert open_ones(found) == {("ada", "pay")}
    assert found[0].micro_operation_type == "CPU_INSTRUCTION"
    assert found[0].cost == Decimal("1.000000")


def test_everyone_s_excess_of_one_user_is_that_user_s() -> None:
    """One of several users who has nearly all of it gets the episode; two who share it are everyone."""
    both = [reading(EVERYONE, "pay", 500), reading("ada", "pay", 900), reading("ben", "pay", 101, 0.6)]
    assert open_ones(episodes().follow(both, MINUTE_NS)) == {("ada", "pay")}
    shared = [reading(EVERYONE, "pay", 500), reading("ada", "pay", 500), reading("ben", "pay", 500)]
    assert open_ones(episodes().follow(shared, MINUTE_NS)) == {(EVERYONE, "pay")}


def test_only_what_is_worth_it_is_told() -> None:
    """An episode pages once what it will have cost in an hour passes a share of the daily spend, and once only."""
    watch = episodes(daily_spend=300.0)
    told = [watch.follow([reading("ada", "pay", 300)], minute * MINUTE_NS)[0].paged_ns for minute in range(1, 6)]
    assert told[0] is None
    assert told[1:] == [3 * MINUTE_NS] * 4


def test_it_ends_after_quiet_windows() -> None:
    """An episode lasts until so many windows were calm."""
    watch = episodes()
    watch.follow([reading("ada", "pay", 500)], MINUTE_NS)
    assert watch.follow([], (QUIET_WINDOWS + 1) * MINUTE_NS) == []
    ended = watch.follow([], (QUIET_WINDOWS + 2) * MINUTE_NS)
    assert [one.ended_ns for one in ended] == [2 * MINUTE_NS]


def test_what_was_usual_at_first_measures_the_whole_episode() -> None:
    """Baselines that follow the fault do not make it cheaper."""
    watch = episodes()
    watch.follow([reading("ada", "pay", 500)], MINUTE_NS)
    later = Reading("ada", "pay", "CPU_INSTRUCTION", "cpu_cycles", 500.0, 1.0, 3.0, (250.0, 300.0, 350.0))
    assert watch.follow([later], 2 * MINUTE_NS)[0].cost == Decimal("8.000000")


def test_using_less_is_no_alert() -> None:
    """A severe fall costs nobody anything."""
    assert episodes().follow([reading("ada", "pay", 1.0)], MINUTE_NS) == []


def test_what_goes_on_is_told_sooner_than_what_was_one_burst() -> None:
    """Of equal cost so far: what lasts will have cost more before anybody has acted."""
    paged = []
    for values in ([500, 0, 0, 0, 0, 0], [180, 180, 180, 180, 180, 180]):
        watched = episodes(daily_spend=300.0)
        found = [
            watched.follow([reading("ada", "pay", value, severity=3.0 if value else 0.0)], MINUTE_NS * (minute + 1))
            for minute, value in enumerate(values)
        ]
        last = [one for part in found for one in part][-1]
        assert last.cost is not None
        assert last.cost < Decimal("0.02") * 300
        paged.append(last.paged_ns is not None)
    assert paged == [False, True]
