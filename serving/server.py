"""One server process: uvicorn with the short way in for events, and an interpreter settled for a long run."""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from serving.api.events_protocol import protocol_of

_SWITCH_S = 0.001
"""How long one thread computes while another waits: a commit comes back from the disk many times."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Numbers of settings in glibc's malloc.h."""


def run(app: FastAPI, listener: socket.socket, **settings: Any) -> None:
    """Serve until told to stop; ``settings`` are uvicorn's."""
    config = uvicorn.Config(
        app, http=protocol_of(app), log_config=None, access_log=False, server_header=False, **settings
    )
    sys.setswitchinterval(_SWITCH_S)
    # For torch, which the first bundle brings: forecasts are small, and its threads would wait for those that serve.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _keep_memory()
    _settle()
    app.state.platform.champion.loaded = _settle
    uvicorn.Server(config).run(sockets=[listener])


def _settle() -> None:
    """Leave what there is out of garbage collection: it stays, and looking through it stops all threads for 0.2 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _keep_memory() -> None:
    """Have glibc keep freed blocks of up to 32 MiB: for a batch, fresh pages would cost more than decoding it."""
    setting = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if setting is not None:
        setting(_MMAP_THRESHOLD, 32 << 20)
        setting(_TRIM_THRESHOLD, 64 << 20)
