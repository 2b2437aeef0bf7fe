"""A short name of the data that a model learnt from, so that two runs can be told to have seen the same."""

from __future__ import annotations

import hashlib

import numpy as np

from models.panel import Panel


def fingerprint(panel: Panel) -> str:
    """16 hex digits over names, times, values and planned events; missing values count, their bit pattern does not."""
    digest = hashlib.sha256()
    digest.update(repr((panel.series, panel.tenants, panel.resources)).encode())
    digest.update(repr((panel.start_ns, panel.window_ns, panel.season, panel.values.shape)).encode())
    missing = np.isnan(panel.values)
    digest.update(np.packbits(missing).tobytes())
    digest.update(np.ascontiguousarray(np.where(missing, 0.0, panel.values)).tobytes())
    if panel.planned is not None:
        digest.update(panel.planned.content())
    return digest.hexdigest()[:16]
