"""Records of what processes saw: append-only files of short lines that a `kill -9` of the writer loses nothing of.

Each line is one `write` to the kernel, so a record is there exactly if the call returned or nearly did; a torn
last line (a full disk, a crash of the machine) is cut off when the file is opened next.
"""

import os
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """One file, written by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            os.truncate(path, len(whole(path.read_bytes())))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, *fields: object) -> None:
        """Write one record."""
        os.write(self._file, (" ".join(map(str, fields)) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


def whole(content: bytes) -> bytes:
    """The complete lines."""
    return content[: content.rfind(b"\n") + 1]


def records(path: Path) -> Iterator[list[str]]:
    """The fields of each record; none when there is no file."""
    if path.exists():
        for line in whole(path.read_bytes()).decode().splitlines():
            yield line.split(" ")


def last(path: Path) -> list[str] | None:
    """The fields of the newest record."""
    if not path.exists():
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 4096))
        lines = whole(file.read()).decode(errors="replace").splitlines()
    return lines[-1].split(" ") if lines else None
