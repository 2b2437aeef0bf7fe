"""Counts what a killed process had recorded and not delivered: a few numbers in a file that outlives it.

The engine counts each record in the file's memory; the delivery notes there how many of them are in batches that are on
disk or with the server. What is missing between the two when a process has been killed is told by the next one that ships
to the same place, as PROFILER_SELF with the meter `lost_events`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from metercast.shipping.producer import Producer

SUFFIX = ".journal"
_LAYOUT = struct.Struct("<QQQQqq")  # recorded, accounted, accounted next, sequence next, process, its start
_RECORDED, _ACCOUNTED, _NEXT, _SEQUENCE = range(4)


class Journal:
    """The journal of this process, at ``directory``/PRODUCER-EPOCH.journal. Raises OSError when it cannot be made."""

    def __init__(self, directory: str, producer: Producer) -> None:
        self.path = os.path.join(directory, f"{producer.name}-{producer.epoch}{SUFFIX}")
        process = os.getpid()
        with open(self.path, "w+b") as file:
            file.write(_LAYOUT.pack(0, 0, 0, 0, process, _start_of(process)))
            file.flush()
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._numbers = memoryview(self._memory).cast("Q")
        self.recorded = self._numbers[:1]
        """What the engine counts into: one unsigned 64-bit integer."""

    def intend(self, records: int, sequence: int) -> None:
        """A batch of so many records is complete on disk and about to get its final name."""
        self._numbers[_SEQUENCE] = sequence
        self._numbers[_NEXT] = self._numbers[_ACCOUNTED] + records

    def account(self, records: int) -> None:
        """So many records more are in a batch that is on disk or with the server."""
        self._numbers[_ACCOUNTED] += records

    def close(self) -> None:
        """Nothing is left to be told by another process."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class Lost:
    """What a killed process has left: its journal, claimed by this one, and the records that no batch has."""

    __slots__ = ("path", "producer", "records")

    def __init__(self, path: str, producer: str, records: int) -> None:
        self.path = path
        self.producer = producer
        self.records = records

    def forget(self) -> None:
        """It has been told."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def of_killed_processes(directory: str, suffix: str) -> list[Lost]:
    """Claim the journals of processes that are no more; a batch that only lacked its final name gets it."""
    found = []
    for name in os.listdir(directory):
        producer, mark, _ = name.partition(SUFFIX)
        path = os.path.join(directory, name)
        if not mark:
            continue
        numbers = _read(path)
        if numbers is None or _is_alive(numbers[4], numbers[5]):
            continue
        claimed = os.path.join(directory, f"{producer}{SUFFIX}")
        with contextlib.suppress(OSError):
            mine = f"{claimed}.{os.getpid()}"
            os.rename(path, mine)  # one process only can do it
            _note_owner(mine)
            accounted = _finish(directory, producer, suffix, numbers)
            found.append(Lost(mine, producer, numbers[_RECORDED] - accounted))
    return found


def _finish(directory: str, producer: str, suffix: str, numbers: tuple[int, ...]) -> int:
    """How many records are in batches, once the last one has its name."""
    if numbers[_NEXT] <= numbers[_ACCOUNTED]:
        return numbers[_ACCOUNTED]
    path = os.path.join(directory, f"{producer}-{numbers[_SEQUENCE]:09d}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}.{numbers[4]}.part", path)
    return numbers[_NEXT]


def _note_owner(path: str) -> None:
    """From here on the journal is this process's to tell; should it be killed, another finds that out."""
    with open(path, "r+b") as file:
        numbers = list(_LAYOUT.unpack(file.read(_LAYOUT.size)))
        numbers[4:] = os.getpid(), _start_of(os.getpid())
        file.seek(0)
        file.write(_LAYOUT.pack(*numbers))


def _read(path: str) -> tuple[Any, ...] | None:
    try:
        with open(path, "rb") as file:
            return _LAYOUT.unpack(file.read(_LAYOUT.size))
    except (OSError, struct.error):
        return None


def _is_alive(process: int, start: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return _start_of(process) == start


def _start_of(process: int) -> int:
    """When a process began, in ticks since boot, which tells it from a later one of the same number; 0 where unknown."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
