"""The path of a publish through the source: `python -m bench.journey [--list]` counts its calls and files.

A warm publish without an id to two subscribers, from the bytes read to the writes. A return is a call into a file
that the path has left before: a reader of the source has to go back to it.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from msgspec import Struct

import aerostack_realtime
from aerostack_realtime.database.sqlite.database import SqliteDatabase
from bench.hotpath import Deaf, publisher
from bench.report import table
from bench.servers import scratch

WARM = 100
SOURCE = Path(aerostack_realtime.__file__).parent


class Journey(Struct, frozen=True):
    """The calls of Python functions below aerostack_realtime/, as (file, function), in their order."""

    calls: Sequence[tuple[str, str]]

    @property
    def files(self) -> int:
        return len({file for file, _ in self.calls})

    @property
    def changes(self) -> int:
        """How often a call is into another file than the call before."""
        files = [file for file, _ in self.calls]
        return sum(before != after for before, after in pairwise(files))

    @property
    def returns(self) -> int:
        """The changes to a file that was left before: every other change is to a file's first call."""
        return self.changes - (self.files - 1)


def journey_of(step: Callable[[], object]) -> Journey:
    """The calls that `step` makes on this thread."""
    calls: list[tuple[str, str]] = []

    def called(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            calls.append((str(path.relative_to(SOURCE)), frame.f_code.co_qualname))

    sys.setprofile(called)
    try:
        step()
    finally:
        sys.setprofile(None)
    return Journey(calls)


async def of_a_publish() -> Journey:
    """The journey of a publish on SQLite."""
    with scratch() as directory:
        database = await SqliteDatabase.open(directory / "bench.db", Deaf(), retention=[])
        try:
            publish = await publisher(database, 2)
            for _ in range(WARM):
                publish()
            return journey_of(publish)
        finally:
            await database.close()


def main() -> None:
    """Print the counts and, with --list, every call."""
    found = asyncio.run(of_a_publish())
    if "--list" in sys.argv:
        print(table(["file", "function"], [list(each) for each in found.calls]))
    counts = [len(found.calls), found.files, found.changes, found.returns]
    print(table(["calls", "files", "changes of file", "returns"], [[str(each) for each in counts]]))


if __name__ == "__main__":
    main()
