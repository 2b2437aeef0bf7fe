"""Weights and widths of an ensemble that learn as windows end: what each member lost lately, series by series.

Members are judged by forecasts made from two origins, a season apart, the later one a season or a little more ago. The
origins lie on a grid that depends on the clock alone, so for as long as they hold, a window that ends costs nothing but
its own losses: the forecasts of it lie ready. A panel never seen before, as in a backtest, gives the same bit for bit,
as all is summed up window by window in either case. How often the mixture of the members covered what came is counted
beside their losses, by weights as they were at the grid point before.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.mixing import ALONE, heaviest, hedge, mixture, with_losses
from models.panel import Panel

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Digests = NDArray[np.uint64]

LOOKBACKS = 2
"""Members are judged from so many origins."""

ORIGINS = 6
"""So many in a season may be judged from; between two of them the forecasts that are judged stay the same."""

ROWS = 2048
"""So many series at a time are judged, or forecasts of tens of thousands would fill the memory."""

MOST_SERIES = 20_000
"""So many series are remembered; those asked for longest ago are forgotten first."""

Ask = Callable[[Panel, int], Callable[[str, Index], Array]]
"""From a panel and a horizon to what asks a member, by name, for some rows: quantiles (rows, horizon, levels)."""


class Learnt(NamedTuple):
    """Summed losses and, last, how many windows they are of (series, members + 1), as `models.mixing.hedge` takes them.

    ``inside`` (series,) is in how many of these windows the mixture's P10 to P90 covered what came.
    """

    losses: Array
    inside: Array


@dataclass(slots=True)
class _Seen:
    """What is known of the series of a panel: losses up to window ``until``, and forecasts of those after it.

    ``digests`` (series, 2) tell the past up to ``until``; ``sums`` (origins, series, members + 2) are losses, how many
    windows they are of and in how many of them the mixture covered what came; ``ahead`` (origins, members + 1, series,
    windows, levels) begins at ``until``, and the last of its members is the mixture.
    """

    key: str
    until: int
    digests: Digests
    sums: Array
    ahead: Array


class OnlineWeights:
    """Losses of members, learnt window by window; see the module's docstring. Threads may share one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def learn_many(self, panel: Panel, horizon: int, ask: Ask) -> Learnt:
        """Take in all windows of a panel; returns what is known of its series.

        Only what is new costs anything: windows since the last call, series whose past is not the one that was seen,
        and all series where the origins have moved on. ``horizon`` is what weights are wanted for, a shorter one is
        judged on so many windows only.
        """
        with self._lock:
            known = self._seen.pop(panel.series, None)
            found = self._learnt(known, panel, min(horizon, _reach(panel.season)), ask)
            self._seen[panel.series] = found
            while len(self._seen) > 1 and sum(map(len, self._seen)) > MOST_SERIES:
                self._seen.popitem(last=False)
            whole = found.sums.sum(axis=0)
            return Learnt(whole[:, :-1], whole[:, -1])

    def _learnt(self, known: _Seen | None, panel: Panel, reach: int, ask: Ask) -> _Seen:
        cuts = judged_cuts(panel)
        key = _key(panel, cuts, reach)
        first = panel.start_ns // panel.window_ns
        if known is None or known.key != key or known.until > first + panel.windows:
            return self._judged(panel, np.arange(len(panel.series)), cuts, reach, ask, key)
        before, digests = _digests(panel.values, known.until - first)
        revised = np.flatnonzero((before != known.digests).any(axis=1))
        now = self._advanced(known, panel, digests, known.until - first)
        if len(revised):
            anew = self._judged(panel, revised, cuts, reach, ask, key)
            now.sums[:, revised], now.ahead[:, :, revised] = anew.sums, anew.ahead
        return now

    def _judged(self, panel: Panel, rows: Index, cuts: list[int], reach: int, ask: Ask, key: str) -> _Seen:
        """What is known of some rows, from forecasts made now of windows since the judged origins."""
        first, width = panel.start_ns // panel.window_ns, _every(panel.season) - 1
        members = len(self.names)
        shape = (len(cuts), members + 1, len(rows), width, len(LEVELS))
        ahead, sums = np.zeros(shape), np.zeros((len(cuts), len(rows), members + 2))
        for place, cut in enumerate(cuts):
            far = min(reach, panel.windows - cut + width)
            asked = ask(panel.until(cut), far)
            for at in range(0, len(rows), ROWS):
                few = rows[at : at + ROWS]
                steps = [asked(name, few) for name in self.names]
                actual = panel.values[few, cut : cut + far]
                before = min(far, cuts[0] + panel.season - cut)
                now = _compared(np.zeros((len(few), members + 2)), steps, actual[:, :before])
                steps.append(self._mixed(steps, now[:, :-1]))
                sums[place, at : at + ROWS] = _compared(np.zeros((len(few), members + 2)), steps, actual)
                for member, each in enumerate(steps):
                    part = each[:, panel.windows - cut :]
                    ahead[place, member, at : at + ROWS, : part.shape[1]] = part
        digests = _digests(panel.values[rows], panel.windows)[1]
        return _Seen(key, first + panel.windows, digests, sums, ahead)

    def _mixed(self, steps: list[Array], losses: Array) -> Array:
        """The mixture of what members say of some series, each weighed by its own losses (rows, members + 1) alone."""
        order, weights = heaviest(hedge(losses, self.names, ALONE))
        places = np.stack([order, np.broadcast_to(np.arange(len(order))[:, None], order.shape)], axis=2)
        return mixture(steps, places, weights, steps[0].shape[1])

    def _advanced(self, known: _Seen, panel: Panel, digests: Digests, seen: int) -> _Seen:
        """What is known once the windows from ``seen`` on have been compared with their forecasts."""
        new, sums, ahead = panel.windows - seen, known.sums.copy(), known.ahead
        cuts = judged_cuts(panel)
        reach = int(known.key.split(":", 1)[0])
        for place, cut in enumerate(cuts):
            count = max(0, min(new, cut + reach - seen))
            actual = panel.values[:, seen : seen + count]
            sums[place] = _compared(sums[place], [steps[:, :count] for steps in ahead[place]], actual)
        rest = np.zeros_like(ahead)
        rest[:, :, :, : ahead.shape[3] - new] = ahead[:, :, :, new:]
        return _Seen(known.key, known.until + new, digests, sums, rest)


def _compared(sums: Array, steps: Sequence[Array], actual: Array) -> Array:
    """Sums (rows, members + 2) with what was lost in windows that have ended (rows, windows); others do not count.

    ``steps`` are forecasts (rows, windows, levels) of the members and, where there is one more, of their mixture.
    """
    out, width = sums.copy(), actual.shape[1]
    members = out.shape[1] - 2
    for member in range(members):
        out[:, member] = with_losses(out[:, member], steps[member][:, :width], actual)
    out[:, members] += np.isfinite(actual).sum(axis=1)
    if len(steps) > members:
        mixed = steps[members][:, :width]
        out[:, -1] += ((actual >= mixed[..., 0]) & (actual <= mixed[..., -1])).sum(axis=1)
    return out


def judged_cuts(panel: Panel) -> list[int]:
    """The windows of a panel that members are judged from, the latest first; none where there is too little past."""
    every, first = _every(panel.season), panel.start_ns // panel.window_ns
    latest = (first + panel.windows - panel.season) // every * every - first
    cuts = [latest - back * panel.season for back in range(LOOKBACKS)]
    return [cut for cut in cuts if cut >= max(2, panel.season // 2)]


def _every(season: int) -> int:
    """Windows between origins on the grid."""
    return max(1, season // ORIGINS)


def _reach(season: int) -> int:
    """Windows that are forecast at most."""
    return LOOKBACKS * season + _every(season) - 1


def _key(panel: Panel, cuts: list[int], reach: int) -> str:
    """Changes with all that the judged forecasts rest on, but for the values of the series themselves."""
    first = panel.start_ns // panel.window_ns
    known = panel.planned.known_at(panel.start_ns + cuts[0] * panel.window_ns) if panel.planned and cuts else None
    planned = known.content() if known is not None else b""
    told = [panel.start_ns, panel.window_ns, panel.season, *(first + cut for cut in cuts)]
    return f"{reach}:{hashlib.sha256(repr((told, panel.tenants, panel.resources)).encode() + planned).hexdigest()}"


def _digests(values: Array, seen: int) -> tuple[Digests, Digests]:
    """Digests of each series (series, 2) up to window ``seen``, and of all of it: sums of products with odd numbers.

    Such sums tell any two pasts apart but by chance (multilinear hashing; Lemire & Kaser, 2014), once the upper half
    of a value's bits, which numbers of few digits have alone, is mixed into the lower one.
    """
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    bits = bits ^ (bits >> np.uint64(32))
    factors = np.random.default_rng(0).integers(0, 2**64, (values.shape[1], 2), dtype=np.uint64) | np.uint64(1)
    before = bits[:, :seen] @ factors[:seen]
    return before, before + bits[:, seen:] @ factors[seen:]
