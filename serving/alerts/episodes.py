"""Episodes: they open where a reading is severe, gather the excess up the tree, are told once, and end.

The tree is micro-operation -> operation -> user -> everyone. Readings are made at its leaves and at its nodes, so that
neither offsets nor dilution hide anything; of episodes in one line of the tree only the narrowest is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from serving.alerts.anomaly import EVERYONE, SPEND, SPEND_A_RUN, WHOLE, Anomaly
from serving.alerts.gate import Gate
from serving.alerts.intensity import Price

OPEN_AT, STAY_AT = 1.0, 0.5
"""Severities that open an episode, and that keep one open."""

QUIET_WINDOWS = 8
"""So many windows below `STAY_AT` end an episode."""

DRIFT_DAYS = 7
"""A drift stays open for so long: a level that crept up does not go down by itself."""

MAINLY = 0.8
"""An excess of everyone of which one user has more than this share is that user's."""

Key = tuple[str, str, str]
"""(user, operation, kind) of an episode; surges, drifts and new spend go on beside each other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One series in one window: usage or spend, how severe it is, and what was expected."""

    user: str
    operation: str
    micro: str
    resource: str
    value: float
    runs: float
    severity: float
    expected: tuple[float, float, float]
    view: str = ""
    kind: str = "surge"

    @property
    def beyond(self) -> float:
        """What was used or spent beyond the expected."""
        return max(0.0, (self.value - self.expected[1]) * self.runs)


class Episodes:
    """The open episodes of an engine; `follow` returns those that changed, to be written."""

    def __init__(self, window_s: int, price: Price | None, gate: Gate, daily_spend: Callable[[str], float]) -> None:
        self._window_ns = window_s * 1_000_000_000
        self._price, self._gate, self._daily_spend = price, gate, daily_spend
        self._open: dict[Key, Anomaly] = {}

    def put(self, anomalies: Sequence[Anomaly]) -> None:
        """Go on with episodes that were open."""
        self._open = {(one.user, one.operation, one.kind): one for one in anomalies}

    @property
    def watched(self) -> frozenset[tuple[str, str]]:
        """(user, operation) of open episodes: their readings are wanted, however calm."""
        return frozenset((user, operation) for user, operation, _ in self._open)

    @property
    def drifting(self) -> list[Anomaly]:
        """Open drifts: they cost on, window by window."""
        return [one for one in self._open.values() if one.kind == "drift"]

    def follow(self, readings: Sequence[Reading], start_ns: int) -> list[Anomaly]:
        """Open, continue and end episodes with the readings of one window; everyone's come first, the widest last."""
        groups: dict[Key, list[Reading]] = {}
        for reading in readings:
            groups.setdefault((reading.user, reading.operation, reading.kind), []).append(reading)
        changed = []
        for key in sorted(groups, key=_width):
            episode = self._followed(key, groups, start_ns)
            if episode is not None:
                self._open[key] = episode
                changed.append(episode)
        return changed + self._ended(start_ns)

    def _followed(self, key: Key, groups: Mapping[Key, list[Reading]], start_ns: int) -> Anomaly | None:
        """The episode of a node as this window leaves it; None where there is none or nothing new of it."""
        readings = groups[key]
        above = [one for one in readings if one.value > one.expected[2] or one.kind != "surge"]
        high = max(above, key=lambda one: one.severity, default=None)
        episode = self._open.get(key)
        if episode is None:
            if high is None or high.severity < OPEN_AT or self._is_covered(key):
                return None
            if key[0] == EVERYONE and key[1] != WHOLE and self._owner(key, groups) is not None:
                return None
            episode = self._widened(key) or _opened(high, start_ns)
        elif high is None or high.severity < STAY_AT:
            return None
        return self._grown(episode, readings, high, groups, start_ns)

    def _is_covered(self, key: Key) -> bool:
        """Whether an open episode in the same line of the tree tells of this already."""
        user, operation, kind = key
        if kind != "surge":
            return False
        if operation == WHOLE:
            told = (other for other in self._open if other != key and other[2] in ("surge", "new"))
            return any(user == EVERYONE or other[0] in (user, EVERYONE) for other in told)
        return user != EVERYONE and (EVERYONE, operation, kind) in self._open

    def _widened(self, key: Key) -> Anomaly | None:
        """The open episode of the whole user, or of all, that this narrower one explains and takes over."""
        user, operation, kind = key
        for wider in ((user, WHOLE, kind), (EVERYONE, WHOLE, kind)):
            episode = self._open.get(wider)
            if episode is not None and operation != WHOLE and kind == "surge":
                del self._open[wider]
                return replace(episode, user=user, operation=operation, excess={}, shares={}, usual={}, observed=0.0)
        return None

    def _owner(self, key: Key, groups: Mapping[Key, list[Reading]]) -> str | None:
        """The one user, of several, who has nearly all of what everyone used beyond the expected."""
        beyond = {
            user: sum(one.beyond for one in readings if one.severity >= STAY_AT)
            for (user, operation, kind), readings in groups.items()
            if operation == key[1] and kind == key[2] and user != EVERYONE
        }
        total = sum(beyond.values())
        greatest = max(beyond, key=lambda user: beyond[user], default=None)
        if greatest is None or total <= 0 or beyond[greatest] < MAINLY * total:
            return None
        worst = max(groups[(greatest, key[1], key[2])], key=lambda one: one.severity)
        if worst.runs >= max(one.runs for one in groups[key]):
            return None  # there is nobody else
        return greatest if worst.severity >= OPEN_AT and worst.value > worst.expected[2] else None

    def _grown(
        self,
        episode: Anomaly,
        readings: Sequence[Reading],
        high: Reading,
        groups: Mapping[Key, list[Reading]],
        start_ns: int,
    ) -> Anomaly:
        last_ns, shares = start_ns + self._window_ns, self._shares(episode, groups)
        episode = replace(self._with_excess(episode, readings), last_ns=last_ns, shares=shares)
        main = self._main(episode, readings)
        if main is not None and (main.micro != episode.micro_operation_type or main.value > episode.observed):
            episode = replace(
                episode,
                micro_operation_type=main.micro,
                resource=main.resource,
                observed=main.value,
                expected=main.expected,
                view=main.view or episode.view,
            )
        episode = replace(episode, score=round(max(high.severity, episode.score), 3))
        if episode.paged_ns is None and self._gate.lets(episode, self._daily_spend(episode.user)):
            episode = replace(episode, paged_ns=episode.last_ns)
        return episode

    def _with_excess(self, episode: Anomaly, readings: Sequence[Reading]) -> Anomaly:
        """The episode with what these readings add to its excess and to what it costs."""
        excess, usual = dict(episode.excess), dict(episode.usual)
        for reading in readings:
            if reading.severity >= STAY_AT or reading.kind != "surge":
                key = (reading.micro, reading.resource)
                beyond = (reading.value - usual.setdefault(key, reading.expected[1])) * reading.runs
                if beyond > 0:
                    excess[key] = excess.get(key, 0.0) + beyond
        cost, currency = self._cost(episode, excess)
        dearest = max((cost or Decimal(0)) - (episode.cost or Decimal(0)), episode.dearest_window)
        return replace(episode, excess=excess, usual=usual, cost=cost, currency=currency, dearest_window=dearest)

    def _cost(self, episode: Anomaly, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal | None, str]:
        """What an excess costs: of usage at the price, or of spend where that is more; None without prices."""
        if self._price is None:
            return None, ""
        is_money = episode.kind == "price"  # what it has of excess is usage times the difference of two prices
        used = {key: value for key, value in excess.items() if key[1] not in (SPEND, SPEND_A_RUN) and not is_money}
        cost, currency = self._price(episode.operation, used)
        # A rise of prices or of the number of runs shows in the spend and in no resource of a run.
        amounts = [value for key, value in excess.items() if key not in used]
        money = sum(amounts) if is_money else max(amounts, default=0.0)
        return max(cost, Decimal(f"{money:.6f}")), currency

    def _shares(self, episode: Anomaly, groups: Mapping[Key, list[Reading]]) -> dict[tuple[str, str], float]:
        """What lies beneath, by what it has of the excess so far: in money where there are prices."""
        shares = dict(episode.shares)
        for (user, operation, kind), readings in groups.items():
            if kind != episode.kind:
                continue
            is_user = episode.user == EVERYONE != user and operation == episode.operation
            is_operation = episode.operation == WHOLE != operation and user == episode.user
            is_self = (user, operation) == (episode.user, episode.operation) and operation != WHOLE
            for one in readings:
                if not one.beyond or (one.severity < STAY_AT and is_self):
                    continue
                what = ("user", user) if is_user else ("operation", operation) if is_operation else None
                if is_self and one.micro != WHOLE:
                    what = ("micro-operation", one.micro)
                if what is not None and (one.micro == WHOLE) == (what[0] == "operation"):
                    shares[what] = shares.get(what, 0.0) + self._worth(one)
        return shares

    def _worth(self, reading: Reading) -> float:
        if reading.resource in (SPEND, SPEND_A_RUN) or reading.kind == "price" or self._price is None:
            return reading.beyond
        return float(self._price(reading.operation, {(reading.micro, reading.resource): reading.beyond})[0])

    def _main(self, episode: Anomaly, readings: Sequence[Reading]) -> Reading | None:
        """The reading of the resource that has cost most so far; without prices, of the greatest surprise."""
        if episode.kind != "surge":
            return max(readings, key=lambda one: one.beyond)
        found = [
            one
            for one in readings
            if one.severity >= STAY_AT and one.value > one.expected[2] and (one.micro, one.resource) in episode.excess
        ]
        price = self._price
        resources = {key: value for key, value in episode.excess.items() if key[0] != WHOLE}
        if price is None or not resources:
            return max(found, key=lambda one: one.severity, default=None)
        # Over the whole episode: what merely lingers in its last window must not give it its name.
        dearest = max(resources, key=lambda key: price(episode.operation, {key: resources[key]})[0])
        return next((one for one in found if (one.micro, one.resource) == dearest), None)

    def _ended(self, start_ns: int) -> list[Anomaly]:
        """Episodes that were quiet for long enough, taken out."""
        ended = []
        for key, episode in list(self._open.items()):
            quiet_ns = QUIET_WINDOWS * self._window_ns
            is_over = start_ns - episode.last_ns >= quiet_ns
            if episode.kind == "drift":
                is_over = start_ns - episode.started_ns >= DRIFT_DAYS * 86_400_000_000_000
            if is_over:
                del self._open[key]
                ended.append(replace(episode, ended_ns=episode.last_ns))
        return ended


def _width(key: Key) -> tuple[bool, bool, bool, Key]:
    """Sorts operations of everyone, of users, whole users, and all last."""
    user, operation, _ = key
    return operation == WHOLE, operation == WHOLE and user == EVERYONE, user != EVERYONE, key


def _opened(high: Reading, start_ns: int) -> Anomaly:
    name = f"{high.user}|{high.operation}|{high.kind}|{start_ns}"
    return Anomaly(
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        user=high.user,
        operation=high.operation,
        micro_operation_type=high.micro,
        resource=high.resource,
        started_ns=start_ns,
        last_ns=start_ns,
        ended_ns=None,
        score=0.0,
        observed=high.value,
        expected=high.expected,
        kind=high.kind,
        view=high.view,
    )
