"""What kind of usage a series is: its operation, micro-operation type and resource, as numbers a network can take."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from models.panel import Panel

SEPARATOR = "|"
FIELDS = 3
LARGEST = 63
"""So many values of a field are told apart; rarer ones are one kind, number 0, as are those never seen."""


def labels_of(panel: Panel, row: int) -> tuple[str, str, str]:
    """Operation, micro-operation type and resource of a series; the first two only where its name tells them."""
    parts = panel.series[row].split(SEPARATOR)
    operation, kind = (parts[1], parts[2]) if len(parts) >= 4 else ("", "")
    return operation, kind, panel.resources[row]


def vocabulary(panel: Panel) -> tuple[tuple[str, ...], ...]:
    """The values of every field that at least two series have, most frequent first."""
    counts = [Counter[str]() for _ in range(FIELDS)]
    for row in range(len(panel.series)):
        for count, value in zip(counts, labels_of(panel, row), strict=True):
            count[value] += 1
    return tuple(
        tuple(value for value, seen in sorted(count.items(), key=lambda item: (-item[1], item[0])) if seen > 1)[
            :LARGEST
        ]
        for count in counts
    )


def codes(panel: Panel, rows: NDArray[np.int64], labels: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    """Numbers (batch, FIELDS) of the values in a vocabulary, from 1; 0 for those it does not have."""
    out = np.zeros((len(rows), FIELDS), dtype=np.int64)
    places = [{value: index + 1 for index, value in enumerate(field)} for field in labels]
    if any(places):
        found = list(zip(*(labels_of(panel, row) for row in rows.tolist()), strict=True))
        for field, (known, values) in enumerate(zip(places, found, strict=False)):
            if known:
                out[:, field] = [known.get(value, 0) for value in values]
    return out
