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
from serving.estimating.estimates import estimate, fan, plan_named
from serving.estimating.forecasting import TooLittleHistoryError
from serving.estimating.futures import Futures, Request, Sources, usage_futures
from serving.kept import Kept
from serving.pricing.usage import Period
from serving.settings import Settings

NANOSECONDS = 1_000_000_000
LONGEST_HORIZON = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """Whose bill under which plans over [start_ns, end_ns)."""

    user: str
    plans: tuple[str, ...]
    start_ns: int
    end_ns: int
    paths: int = 1_000
    budget: Decimal | None = None


class EstimateService:
    """Answers questions from the closed windows; an answer is kept until a window closes or the champion changes."""

    def __init__(self, sources: Sources, worker: EngineWorker, settings: Settings) -> None:
        self._sources, self._worker, self._settings = sources, worker, settings
        self._answers: Kept[dict[str, Any]] = Kept(2_048)
        self._recent: Kept[tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]] = Kept(256)
        self._futures: Kept[Futures] = Kept(32)

    def ask(self, question: Question) -> dict[str, Any]:
        """The document of `serving.estimating.estimates.estimate`; raises what that raises."""
        return self._answer(question, *self._request(question))

    def futures(self, question: Question) -> Futures:
        """The sample futures behind an answer; raises TooLittleHistoryError where there is too little usage."""
        return self._sampled(*self._request(question))

    def recent(self, question: Question, tolerance_s: float) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Answer and fan that are at most ``tolerance_s`` old: enough for a page, where windows close every second."""
        request, model = self._request(question)
        key = (question, model, *self._versions(question), int(time.monotonic() // tolerance_s))
        return self._recent.get(key, lambda: self._with_fan(question, request, model))

    @property
    def hits(self) -> int:
        """Answers that were kept from before."""
        return self._answers.hits

    @property
    def misses(self) -> int:
        """Answers that were computed."""
        return self._answers.misses

    def _answer(self, question: Question, request: Request, model: Hashable) -> dict[str, Any]:
        key = (question, request, model, *self._versions(question))
        return self._answers.get(key, lambda: self._made(question, request, model))

    def _made(self, question: Question, request: Request, model: Hashable) -> dict[str, Any]:
        """A new answer: kept for the day its bill comes, and with the errors of those before it."""
        document = estimate(self._sources, request, question.plans, self._sampled(request, model))
        made = self._sources.commerce.estimates_made
        made.keep(document, Period(question.start_ns, question.end_ns), request.now_ns)
        for one in document["estimates"]:
            one["past_errors"] = {
                "user": errors(made.scored(question.user, one["plan"]["id"])),
                "plan": errors(made.scored(None, one["plan"]["id"])),
            }
        return document

    def records(self, question: Question, horizon: str) -> list[dict[str, Any]]:
        """`ProjectedBillingEstimate` under the first plan, as `serving.estimating.estimate_records.projected`."""
        request, model = self._request(question)
        plan = plan_named(self._sources.plans, question.plans[0]).of_customer(question.user)
        return projected(self._sources, request, plan, self._sampled(request, model), horizon)

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

    def _with_fan(
        self, question: Question, request: Request, model: Hashable
    ) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Both from the same sample futures, though windows close while they are made: the fan must meet the bill."""
        plan = plan_named(self._sources.plans, question.plans[0])
        return self._answer(question, request, model), fan(plan, self._sampled(request, model))

    def _versions(self, question: Question) -> list[int]:
        return [plan_named(self._sources.plans, plan_id).version for plan_id in question.plans]

    def _request(self, question: Question) -> tuple[Request, Hashable]:
        """The question at this moment, and what tells the model in force from others."""
        champion = self._sources.champion.current()
        window_s = self.window_s(question.end_ns)
        if champion is not None and champion[1].get("window_s"):
            window_s = int(champion[1]["window_s"])
        window_ns = window_s * NANOSECONDS
        # Where nothing has closed yet the clock stands in, whole windows of it, so that equal questions stay equal.
        now_ns = self._worker.closed_until_ns(window_s) or time.time_ns() // window_ns * window_ns
        request = Request(
            question.user, question.start_ns, question.end_ns, now_ns, window_s, question.paths, question.budget
        )
        return request, None if champion is None else (id(champion[0]), str(champion[1].get("version")))

    def _sampled(self, request: Request, model: Hashable) -> Futures:
        key = (replace(request, budget=None), model)
        return self._futures.get(key, lambda: usage_futures(self._sources, request))

    def window_s(self, end_ns: int, now_ns: int | None = None) -> int:
        """Without a champion: the shortest window of which not more than `LONGEST_HORIZON` lie ahead."""
        lengths = self._settings.windows_s
        seen_ns = now_ns or self._worker.closed_until_ns(lengths[0]) or time.time_ns()
        ahead_s = (end_ns - seen_ns) / NANOSECONDS
        return min((length for length in lengths if ahead_s / length <= LONGEST_HORIZON), default=max(lengths))
