"""Batches on disk: what waits for a server that is away, and what a local run leaves in a directory."""

from __future__ import annotations

import os
import time

from metercast.shipping import ring_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

JSON_SUFFIX, COLUMNS_SUFFIX = ".json.gz", ".mcb.gz"
_PARTIAL, _REFUSED = ".part", ".refused"
_ABANDONED_S = 600.0
_COUNT_AGAIN_S = 10.0


class Spool:
    """A directory of whole batches, shared by processes; a file has its final name only when it is complete."""

    def __init__(self, directory: str, limit_bytes: int = 0, suffix: str = JSON_SUFFIX) -> None:
        """``limit_bytes`` 0 means no limit. Raises OSError when the directory cannot be made."""
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.suffix = suffix
        self.last_problem = ""
        self._names: list[str] = []  # oldest last
        self._size_bytes = 0
        self._counted_at_s = float("-inf")
        os.makedirs(directory, exist_ok=True)
        self._remove_abandoned()

    def put(
        self,
        name: str,
        body: bytes,
        beyond_limit: bool = False,
        is_synced: bool = True,
        before_naming: Callable[[], None] | None = None,
    ) -> bool:
        """Keep a batch; False when the limit or the disk does not allow it, `last_problem` says which.

        Synced, it outlives the machine's end as well; else only the program's. ``before_naming`` is called when all is
        on disk but the final name.
        """
        if self.limit_bytes and not beyond_limit and self.size_bytes() + len(body) > self.limit_bytes:
            self.last_problem = f"the spool {self.directory} has reached its limit of {self.limit_bytes} bytes"
            return False
        path = os.path.join(self.directory, name + self.suffix)
        partial = f"{path}.{os.getpid()}{_PARTIAL}"
        try:
            with open(partial, "wb") as file:
                file.write(body)
                file.flush()
                if is_synced:
                    os.fsync(file.fileno())
            if before_naming is not None:
                before_naming()
            os.replace(partial, path)
        except OSError as error:
            self._remove(partial)
            self.last_problem = f"{self.directory}: {error.strerror or error}"
            return False
        self._size_bytes += len(body)
        return True

    def file_name(self, name: str) -> str:
        """The file that `put` makes for a batch."""
        return name + self.suffix

    def oldest(self) -> str | None:
        """The batch that has waited longest, None when none is left."""
        if not self._names:
            self._names = self._read_names()[::-1]
        return self._names[-1] if self._names else None

    def names(self) -> list[str]:
        """The batches at hand, oldest first."""
        self._names = []
        return self._read_names()

    def read(self, name: str) -> bytes | None:
        """The body of a batch, None if another process has sent it meanwhile."""
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            self._forget(name)
            return None

    def remove(self, name: str) -> None:
        """Forget a delivered batch."""
        self._forget(name)
        self._remove(os.path.join(self.directory, name))

    def set_aside(self, name: str) -> None:
        """Keep a batch the server refused for good, out of the way of the others, under the suffix `.refused`."""
        self._forget(name)
        path = os.path.join(self.directory, name)
        try:
            os.replace(path, path + _REFUSED)
        except OSError:
            self._remove(path)

    def size_bytes(self) -> int:
        """Bytes that the directory's files take; those of other processes are counted anew every ten seconds."""
        now_s = time.monotonic()
        if now_s - self._counted_at_s > _COUNT_AGAIN_S:
            self._counted_at_s = now_s
            self._size_bytes = sum(size for _, name, size in self._entries() if not name.endswith(ring_file.SUFFIX))
        return self._size_bytes

    def _read_names(self) -> list[str]:
        return [name for _, name, _ in sorted(self._entries()) if name.endswith(self.suffix)]

    def _entries(self) -> list[tuple[int, str, int]]:
        """(time of writing, name, size) of every file."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError:  # sent by another process meanwhile
                    continue
                found.append((status.st_mtime_ns, entry.name, status.st_size))
        return found

    def _forget(self, name: str) -> None:
        if self._names and self._names[-1] == name:
            self._names.pop()
        elif name in self._names:
            self._names.remove(name)

    def _remove_abandoned(self) -> None:
        """Halves of batches that a killed process left."""
        before_ns = time.time_ns() - int(_ABANDONED_S * 1e9)
        for written_ns, name, _ in self._entries():
            if name.endswith(_PARTIAL) and written_ns < before_ns:
                self._remove(os.path.join(self.directory, name))

    def _remove(self, path: str) -> None:
        try:
            size_bytes = os.stat(path).st_size
            os.unlink(path)
        except OSError:
            return
        self._size_bytes = max(0, self._size_bytes - size_bytes)
