"""What the engine remembers between steps: how far it read, open windows, series and baselines, all in arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from features.window_rows import WindowRows
from serving.engine.baselines import Baselines
from serving.engine.series_index import SeriesIndex
from serving.engine.store import Kept


@dataclass(frozen=True, slots=True)
class EngineState:
    """Never changed: a step makes a new one.

    ``closed_until_ns`` maps a window's length in seconds to the end of its last closed window; ``open_windows`` to
    parts whose sum is what is known of windows beyond it.
    """

    offset: int = 0
    watermark_ns: int = 0
    closed_until_ns: Mapping[int, int] = field(default_factory=dict)
    late_events: int = 0
    series: SeriesIndex = field(default_factory=SeriesIndex)
    open_windows: Mapping[int, tuple[WindowRows, ...]] = field(default_factory=dict)
    baselines: Baselines = field(default_factory=Baselines.empty)

    def document(self) -> str:
        """The numbers among it as JSON."""
        return json.dumps(
            {
                "offset": self.offset,
                "watermark_ns": self.watermark_ns,
                "closed_until_ns": {str(key): value for key, value in self.closed_until_ns.items()},
                "late_events": self.late_events,
            }
        )

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """The state that a store holds."""
        found: dict[str, Any] = json.loads(kept.document) if kept.document else {}
        closed = {int(window_s): int(until) for window_s, until in found.pop("closed_until_ns", {}).items()}
        index = SeriesIndex.of(kept.series, kept.next_series)
        baselines = Baselines.empty(len(index))
        for body in kept.baselines.values():
            baselines = baselines.decoded(body)
        opened = {window_s: tuple(parts) for window_s, parts in kept.open_windows.items()}
        return cls(**found, closed_until_ns=closed, series=index, open_windows=opened, baselines=baselines)
