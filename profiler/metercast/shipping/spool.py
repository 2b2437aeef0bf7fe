"""Batches on disk: what waits for a server that is away, and what a local run leaves in a directory."""

from __future__ import annotations

import os

JSON_SUFFIX, COLUMNS_SUFFIX = ".json.gz", ".mcb.gz"


class Spool:
    """A directory of whole batches; a file appears under its final name only when it is complete."""

    def __init__(self, directory: str, limit_bytes: int = 0, suffix: str = JSON_SUFFIX) -> None:
        """``limit_bytes`` 0 means no limit. Raises OSError when the directory cannot be made."""
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.suffix = suffix
        os.makedirs(directory, exist_ok=True)

    def put(self, name: str, body: bytes) -> bool:
        """Keep a batch; False when the limit or the disk does not allow it."""
        if self.limit_bytes and self.size_bytes() + len(body) > self.limit_bytes:
            return False
        path = os.path.join(self.directory, name + self.suffix)
        partial = f"{path}.{os.getpid()}.part"
        try:
            with open(partial, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            self._remove(partial)
            return False
        return True

    def file_name(self, name: str) -> str:
        """The file that `put` makes for a batch."""
        return name + self.suffix

    def names(self) -> list[str]:
        """The batches at hand, oldest first."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith(self.suffix):
                    try:
                        found.append((entry.stat().st_mtime_ns, entry.name))
                    except FileNotFoundError:
                        continue
        return [name for _, name in sorted(found)]

    def read(self, name: str) -> bytes | None:
        """The body of a batch, None if another process has sent it meanwhile."""
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Forget a delivered batch."""
        self._remove(os.path.join(self.directory, name))

    def set_aside(self, name: str) -> None:
        """Keep a batch the server refused for good, out of the way of the others, under the suffix `.refused`."""
        path = os.path.join(self.directory, name)
        try:
            os.replace(path, path + ".refused")
        except OSError:
            self._remove(path)

    def size_bytes(self) -> int:
        """Bytes that the directory's files take."""
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except OSError:
                    continue
        return total

    @staticmethod
    def _remove(path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            return
