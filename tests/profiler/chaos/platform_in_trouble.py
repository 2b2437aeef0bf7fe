"""A server that fails in every way a server can, at random but repeatably, and still counts each batch once."""

from __future__ import annotations

import random
import time

from ..platform_server import Server

TROUBLES = ("fine", "fine", "fine", 500, 503, 429, "accept and hang up", "hang up", "hang", "slow")


class TroubledServer(Server):
    """Answers at random; `ends_s` after its start it behaves, so that everything arrives in the end."""

    def __init__(self, seed: int, ends_s: float, port: int = 0) -> None:
        self.random = random.Random(seed)
        self.calm_at_s = time.monotonic() + ends_s
        super().__init__(port)

    def next_answer(self):
        """What happens to the next request."""
        if time.monotonic() >= self.calm_at_s:
            return 202
        trouble = self.random.choice(TROUBLES)
        return 202 if trouble == "fine" else trouble
