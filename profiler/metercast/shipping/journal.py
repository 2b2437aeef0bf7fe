"""Keeps and counts what a killed process had recorded and not delivered: files that outlive it.

The engine counts each record in the file's memory; the delivery notes there how many of them are in batches that are
on disk or with the server. The compiled engine keeps the records themselves in a file beside it until then, see
`ring_file`. When a process has been killed, the next one that ships to the same place delivers what it finds there, and
tells how many records are missing: in batches under the killed process's own name and next numbers, so that telling it
twice counts once.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time

from metercast import clock
from metercast.shipping import ring_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from metercast.engine import Engine
    from metercast.shipping.batch import Row
    from metercast.shipping.producer import Producer

SUFFIX = ".journal"
_ROWS_AT_ONCE = 2_000
_LAYOUT = struct.Struct("<QQQQQqqq")
_RECORDED, _ACCOUNTED, _NEXT, _SEQUENCE, _LAST_SEQUENCE, _FOUND_NS, _PROCESS, _START = range(8)


class Journal:
    """The journal of this process, at ``directory``/PRODUCER-EPOCH.journal. Raises OSError when it cannot be made."""

    def __init__(self, directory: str, producer: Producer, engine: Engine, keeps_records: bool = True) -> None:
        """``keeps_records`` False counts them only, as where names must not be on disk."""
        self._engine = engine
        place = os.path.join(directory, f"{producer.name}-{producer.epoch}")
        self.path, self._ring_path = place + SUFFIX, place + ring_file.SUFFIX
        process = os.getpid()
        with open(self.path, "w+b") as file:
            file.write(_LAYOUT.pack(0, 0, 0, 0, 0, 0, process, _start_of(process)))
            file.flush()
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._numbers = memoryview(self._memory).cast("Q")
        self.recorded = self._numbers[:1]
        engine.count_into(self.recorded)
        if keeps_records:
            with contextlib.suppress(OSError):  # a disk without room: they are counted all the same
                engine.keep_in(self._ring_path, clock.epoch_offset_ns(), clock.nominal_hz())

    def intend(self, records: int, sequence: int) -> None:
        """A batch of so many records is complete on disk, the last of all taken so far, and about to get its name."""
        self._engine.intend()
        self._numbers[_SEQUENCE] = self._numbers[_LAST_SEQUENCE] = sequence
        self._numbers[_NEXT] = self._numbers[_ACCOUNTED] + records

    def take_number(self, sequence: int) -> None:
        """A batch of this number waits in memory and may be sent, so its records must not be delivered again."""
        self._engine.intend()
        self._engine.release()
        self._numbers[_LAST_SEQUENCE] = sequence

    def account(self, records: int) -> None:
        """So many records more are in a batch that is on disk or with the server."""
        self._engine.release()  # before they count: until then the batch that was intended says what is complete
        self._numbers[_ACCOUNTED] += records

    def close(self) -> None:
        """The process ends; what is not accounted for is left for another to tell."""
        self._engine.count_into(None)
        self._engine.keep_no_more()
        if self._numbers[_RECORDED] == self._numbers[_ACCOUNTED]:
            _remove(self.path)
            _remove(self._ring_path)


class Lost:
    """What a killed process has left: its journal, claimed by this one, and the records that no batch has."""

    __slots__ = ("_is_batch_complete", "_ring_path", "epoch", "found_ns", "name", "path", "records", "sequence")

    def __init__(self, path: str, producer: str, numbers: list[int]) -> None:
        self.path = path
        self._ring_path = os.path.join(os.path.dirname(path), producer + ring_file.SUFFIX)
        self._is_batch_complete = numbers[_NEXT] > numbers[_ACCOUNTED]
        self.name, _, epoch = producer.rpartition("-")
        self.epoch = int(epoch)
        self.sequence = numbers[_LAST_SEQUENCE] + 1
        self.records = max(0, numbers[_RECORDED] - max(numbers[_NEXT], numbers[_ACCOUNTED]))
        self.found_ns = numbers[_FOUND_NS]

    def batches(self, row_of_lost: Callable[[Lost, int], Row]) -> list[tuple[int, list[Row]]]:
        """(number, rows) of its last batches: the records that it has kept in a file, and how many are missing.

        They are the same whoever makes them, so that a server can tell a repetition.
        """
        rows = ring_file.rows_of(self._ring_path, self._is_batch_complete)
        if self.records > len(rows):
            rows.append(row_of_lost(self, self.records - len(rows)))
        starts = range(0, len(rows), _ROWS_AT_ONCE)
        return [(self.sequence + number, rows[at : at + _ROWS_AT_ONCE]) for number, at in enumerate(starts)]

    def forget(self) -> None:
        """It has been told."""
        _remove(self._ring_path)
        _remove(self.path)


def of_killed_processes(directory: str, suffix: str) -> list[Lost]:
    """Claim the journals of processes that are no more; a batch that only lacked its final name gets it."""
    found = []
    for name in os.listdir(directory):
        producer, mark, _ = name.partition(SUFFIX)
        path = os.path.join(directory, name)
        numbers = _read(path) if mark else None
        if numbers is None or _is_alive(numbers[_PROCESS], numbers[_START]):
            continue
        with contextlib.suppress(OSError):
            mine = os.path.join(directory, f"{producer}{SUFFIX}.{os.getpid()}")
            os.rename(path, mine)  # one process only can do it
            _finish(directory, producer, suffix, numbers)
            _remove_halves(directory, producer)
            _claim(mine, numbers)
            found.append(Lost(mine, producer, numbers))
    return found


def _finish(directory: str, producer: str, suffix: str, numbers: list[int]) -> None:
    """The last batch was complete but for its name, or has it already: it is to have it."""
    if numbers[_NEXT] <= numbers[_ACCOUNTED]:
        return
    path = os.path.join(directory, f"{producer}-{numbers[_SEQUENCE]:09d}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}.{numbers[_PROCESS]}.part", path)


def _remove_halves(directory: str, producer: str) -> None:
    """A batch that was not complete: its records wait in the ring file, or are counted."""
    for name in os.listdir(directory):
        if name.startswith(f"{producer}-") and name.endswith(".part"):
            _remove(os.path.join(directory, name))


def _claim(path: str, numbers: list[int]) -> None:
    """From here on the journal is this process's to tell; should it be killed, another finds that out."""
    numbers[_PROCESS], numbers[_START] = os.getpid(), _start_of(os.getpid())
    numbers[_FOUND_NS] = numbers[_FOUND_NS] or time.time_ns()
    with open(path, "r+b") as file:
        file.write(_LAYOUT.pack(*numbers))


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _read(path: str) -> list[int] | None:
    try:
        with open(path, "rb") as file:
            return list(_LAYOUT.unpack(file.read(_LAYOUT.size)))
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
    """When a process began, in ticks since boot: tells it from a later one of its number; 0 where unknown."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
