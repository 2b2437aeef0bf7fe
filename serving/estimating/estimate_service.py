"""Estimates as the API and the pages ask for them: the moment and window chosen, equal questions answered once."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from serving.engine.worker import EngineWorker
from serving.estimating.estimate_history import errors
from serving.estimating.estimate_records import projected
from serving.estimating.estimates import estimate, fan
from serving.estimating.forecasting import TooLittleHistoryError
from serving.estimating.futures import Futures, Request, Sources, check_known, versioned_plan
from serving.estimating.open_usage import OpenUsage, open_usage, passed_shares
from serving.estimating.priced_usage import PricedUsage, UnpricedUsage
from serving.estimating.sampled_usage import SampledUsage, sampled_usage
from serving.kept import Kept
from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.settings import Settings

NANOSECONDS = 1_000_000_000
LONGEST_HORIZON = 1_000
UNPRICED_PATHS = 100
MOST_SAMPLED_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """Whose bill under which plans over [start_ns, end_ns)."""

    user: str
    plans: tuple[str, ...]
    start_ns: int
    end_ns: int
    paths: int = 1_000
    budget: Decimal | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    """What an answer depends on beside the question, as it is when it is asked."""

    request: Request
    model: Hashable
    plans: tuple[tuple[str, int, bool], ...]
    opened: OpenUsage


class EstimateService:
    """Answers questions from all usage that the engine has taken in.

    Paths are sampled once until a window closes, the champion changes or a plan is published; an answer is kept until
    the user uses more or another minute (a sixtieth) of an open window has passed.
    """

    def __init__(self, sources: Sources, worker: EngineWorker, settings: Settings) -> None:
        self._sources, self._worker, self._settings = sources, worker, settings
        self._answers: Kept[dict[str, Any]] = Kept(2_048)
        self._recent: Kept[tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]] = Kept(256)
        self._sampled: Kept[SampledUsage] = Kept(MOST_SAMPLED_BYTES, lambda sampled: sampled.nbytes)
        self._used: Kept[tuple[tuple[UsageColumn, tuple[float, ...]], ...]] = Kept(4_096)
        self._errors: Kept[list[dict[str, Any]]] = Kept(4_096)

    def ask(self, question: Question) -> dict[str, Any]:
        """The document of `serving.estimating.estimates.estimate`; raises what that raises."""
        return self._answer(question, self._moment(question))

    def futures(self, question: Question) -> Futures:
        """The sample futures behind an answer; raises TooLittleHistoryError where there is too little usage."""
        return self._futures(self._moment(question))

    def recent(self, question: Question, tolerance_s: float) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Answer and fan that are at most ``tolerance_s`` old: enough for a page, where windows close every second."""
        now = self._moment(question)
        key = (question, now.model, now.plans, int(time.monotonic() // tolerance_s))
        return self._recent.get(key, lambda: self._with_fan(question, now))

    @property
    def hits(self) -> int:
        """Answers that were kept from before."""
        return self._answers.hits

    @property
    def misses(self) -> int:
        """Answers that were computed."""
        return self._answers.misses

    def _answer(self, question: Question, now: _Moment) -> dict[str, Any]:
        return self._answers.get((question, now), lambda: self._made(question, now))

    def _made(self, question: Question, now: _Moment) -> dict[str, Any]:
        """A new answer: kept for the day its bill comes, and with the errors of those before it."""
        request = now.request
        document = estimate(self._sources, request, question.plans, self._futures(now))
        self._sources.commerce.estimates_made.keep(document, Period(question.start_ns, question.end_ns), request.now_ns)
        for one in document["estimates"]:
            whose = {"user": question.user, "plan": None}
            one["past_errors"] = {name: self._past_errors(user, one["plan"]["id"], now) for name, user in whose.items()}
        return document

    def _past_errors(self, user: str | None, plan_id: str, now: _Moment) -> list[dict[str, Any]]:
        made = self._sources.commerce.estimates_made
        return self._errors.get((user, plan_id, now.request.now_ns), lambda: errors(made.scored(user, plan_id)))

    def records(self, question: Question, horizon: str) -> list[dict[str, Any]]:
        """`ProjectedBillingEstimate` under the first plan, as `serving.estimating.estimate_records.projected`."""
        now = self._moment(question)
        plan = versioned_plan(self._sources, question.plans[0], question.user, now.request.period)
        return projected(self._sources, now.request, plan, self._futures(now), self._unpriced(now), horizon)

    def _unpriced(self, now: _Moment) -> Futures:
        """Futures of what no plan prices, on few paths: only its mean is told."""
        request = replace(now.request, budget=None, paths=UNPRICED_PATHS)
        wanted = UnpricedUsage(self._priced(request))
        used = open_usage(self._sources.history, request.user, request.window_s, request.now_ns, wanted)
        return sampled_usage(self._sources, request, unpriced=True).futures(replace(now.opened, used=used))

    def replay(self, question: Question, shares: Sequence[float]) -> int:
        """Make the estimates of a past period as they would have been at shares of it; returns how many there are.

        They see the usage up to their moment only, but the model in force may have learnt from later usage, so they
        are kept apart from those that were made at the time.
        """
        count = 0
        for share in shares:
            now_ns = question.start_ns + round(share * (question.end_ns - question.start_ns))
            window_s = self.window_s(question.end_ns, now_ns)
            request = Request(
                question.user, question.start_ns, question.end_ns, now_ns, window_s, question.paths, question.budget
            )
            try:
                document = estimate(self._sources, request, question.plans)
            except TooLittleHistoryError:
                continue
            period = Period(question.start_ns, question.end_ns)
            self._sources.commerce.estimates_made.keep(document, period, now_ns, replayed=True)
            count += 1
        return count

    def _with_fan(self, question: Question, now: _Moment) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Both from the same sample futures, though windows close while they are made: the fan must meet the bill."""
        plan = versioned_plan(self._sources, question.plans[0], question.user, now.request.period)
        return self._answer(question, now), fan(plan, self._futures(now))

    def _moment(self, question: Question) -> _Moment:
        """The question at this moment: the model in force, all versions of the period, usage of windows still open."""
        check_known(self._sources, question.plans)
        champion, state = self._sources.champion.current(), self._worker.state
        window_s = self.window_s(question.end_ns)
        if champion is not None and champion[1].get("window_s"):
            window_s = int(champion[1]["window_s"])
        window_ns = window_s * NANOSECONDS
        # Where nothing has closed yet the clock stands in, whole windows of it, so that equal questions stay equal.
        now_ns = state.closed_until_ns.get(window_s, 0) or time.time_ns() // window_ns * window_ns
        request = Request(
            question.user, question.start_ns, question.end_ns, now_ns, window_s, question.paths, question.budget
        )
        model = None if champion is None else (id(champion[0]), str(champion[1].get("version")))
        period, seen_ns = request.period, max(now_ns, state.watermark_ns)
        plans = tuple(
            (plan.id, plan.version, plan.effective_from_ns <= seen_ns) for plan in self._plans(question.user, period)
        )
        used = self._used.get(
            (question.user, window_s, now_ns, plans, state.offset),
            lambda: open_usage(self._sources.history, question.user, window_s, now_ns, self._priced(request)),
        )
        passed = passed_shares(window_s, now_ns, state.watermark_ns)
        return _Moment(request, model, plans, OpenUsage(used, passed, state.watermark_ns))

    def _priced(self, request: Request) -> PricedUsage:
        return PricedUsage(self._plans(request.user, request.period))

    def _plans(self, user: str, period: Period) -> list[Plan]:
        """The versions of all plans that price the period."""
        sources = self._sources
        return [plan for plan_id in sources.plans for plan in sources.versions(plan_id, user, period)]

    def _futures(self, now: _Moment) -> Futures:
        request = replace(now.request, budget=None)
        sampled = self._sampled.get((request, now.model, now.plans), lambda: sampled_usage(self._sources, request))
        return sampled.futures(now.opened)

    def window_s(self, end_ns: int, now_ns: int | None = None) -> int:
        """Without a champion: the shortest window of which not more than `LONGEST_HORIZON` lie ahead."""
        lengths = self._settings.windows_s
        seen_ns = now_ns or self._worker.closed_until_ns(lengths[0]) or time.time_ns()
        ahead_s = (end_ns - seen_ns) / NANOSECONDS
        return min((length for length in lengths if ahead_s / length <= LONGEST_HORIZON), default=max(lengths))
