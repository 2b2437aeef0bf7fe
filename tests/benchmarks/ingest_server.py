"""The server of the ingest benchmark: `metercast serve`'s application under uvicorn, whole or with a part taken out."""

from __future__ import annotations

import argparse
import asyncio
import socket
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from metercast.event import MICRO_OPERATION_TYPES
from pydantic import BaseModel, Field

from features.contracts import Batch, Outcome, Receipt
from features.schema import Rejection
from serving.api import events as events_api
from serving.api.app import create_app
from serving.ingest.bodies import Limits
from serving.ingest.committer import GroupCommitter
from serving.server import run
from serving.settings import Settings

PLANS = Path(__file__).parents[2] / "configs" / "plans"
MODES = ("parse", "pydantic", "durable", "whole")


class _Usage(BaseModel):
    cpuCycles: Annotated[int, Field(ge=0)] = 0
    memoryBytes: Annotated[int, Field(ge=0)] = 0
    networkBytes: Annotated[int, Field(ge=0)] = 0
    diskBytes: Annotated[int, Field(ge=0)] = 0
    executionTimeMs: Annotated[float, Field(ge=0)] = 0.0


class _Event(BaseModel):
    """One event as a model, as handlers of FastAPI usually have it."""

    timestamp: float
    operationID: Annotated[str, Field(min_length=1, max_length=512)]
    microOperationType: Annotated[str, Field(pattern="|".join(f"^{kind}$" for kind in MICRO_OPERATION_TYPES))]
    userID: Annotated[str, Field(min_length=1, max_length=512)]
    resourceUsage: _Usage = _Usage()
    executionID: int = 0
    parentExecutionID: int = 0
    units: Annotated[float, Field(ge=0)] = 0.0
    meter: str = ""
    source: str = ""


class _Body(BaseModel):
    producer: str
    epoch: int
    sequence: int
    events: list[_Event]


def _parse_with_pydantic(body: bytes, _type: str, _limits: Limits, _now_s: float) -> tuple[Batch, list[Rejection]]:
    """The peer: a model an event, and nothing more; columns, which the log needs, are not even made of them."""
    found = _Body.model_validate_json(body)
    column = pa.repeat(pa.scalar(found.events[0].userID), len(found.events))
    rows = pa.RecordBatch.from_arrays([column], ["user_id"])
    return Batch(found.producer, found.epoch, found.sequence, rows), []


class _Acknowledging(GroupCommitter):
    """Says yes without keeping anything: what is left is protocol, decoding and checking."""

    def enqueue(self, batch: Batch) -> asyncio.Future[Receipt]:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        future.set_result(Receipt(Outcome.ACCEPTED))
        return future


def main() -> None:
    """Serve until killed; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--database-url")
    args = parser.parse_args()
    settings = Settings(data=args.data, plans=PLANS, database_url=args.database_url)
    app = create_app(settings)
    platform: Any = app.state.platform
    if args.mode in ("parse", "pydantic"):
        platform.committer = _Acknowledging(platform.log)
    if args.mode == "pydantic":
        events_api.parse = _parse_with_pydantic  # type: ignore[assignment]
    if args.mode != "whole":
        platform.worker.start = lambda: None
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    run(app, listener)


if __name__ == "__main__":
    main()
