"""Who ships: the unique name of this process, and the numbers of its batches."""

from __future__ import annotations

import os
import time


class Producer:
    """Numbers the batches of one process; with its name and epoch each has a key that no other batch has."""

    __slots__ = ("epoch", "name", "sequence")

    def __init__(self) -> None:
        self.name = f"{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
        self.epoch = time.time_ns()
        self.sequence = 0

    def next(self) -> tuple[str, int, int]:
        """The key of the next batch."""
        self.sequence += 1
        return self.name, self.epoch, self.sequence

    def take_back(self) -> None:
        """The last batch was never sent, so its number is free."""
        self.sequence -= 1
