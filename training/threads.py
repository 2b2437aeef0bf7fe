"""How many threads torch computes with: one, unless OMP_NUM_THREADS says otherwise.

The networks are small: sharing a step over threads gains little on an idle machine, and on a busy one the threads wait
for each other (measured beside other work on 2 cores: 40 steps in 1.5 s with one thread, 35 s with two).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def few_threads() -> Iterator[None]:
    """Within it torch uses one thread; afterwards as many as before."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
