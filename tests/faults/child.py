"""What every process of the suite has in common: its orders come by stdin, its progress goes by stdout."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff

SECRET_KEY: Final = "ac_secret_dev"
PROGRESS_EVERY: Final = 50
"""Things done between two reports."""

TABLE: Final = "items"
END: Final = "end"
"""The event, and with END_ROW the row, after which a run has nothing more."""
END_ROW: Final = -1

TOPICS: Final = {"mixed": "fault/mixed", "kept": "fault/kept", "light": "fault/light"}
PEOPLE: Final = "fault/people"
"""Where every subscriber but the live table is present, with which life of it this is as its state."""


STEADY: Final = "steady"
"""The subscriber that is present through all nodes of a cluster at once."""


class Role(Struct, frozen=True):
    """A process's part: its `name`, which life of it this is, where it records, the nodes' addresses, and the
    database's: a file or a URL."""

    name: str
    life: int
    place: Path
    url: str
    rate: float
    seed: int
    database: str

    @property
    def who(self) -> str:
        return f"{self.name}.{self.life}"

    def sdk(self) -> Aerostack:
        """A client that reconnects quickly: a run has many faults."""
        return Aerostack(self.url.split(","), api_key=SECRET_KEY, backoff=Backoff(0.05, 0.4))


def role() -> Role:
    """The part this process was started for."""
    parser = argparse.ArgumentParser()
    for name in ("--name", "--url", "--database"):
        parser.add_argument(name, required=True)
    for name in ("--life", "--seed"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    return Role(**vars(parser.parse_args()))


class Progress:
    """Counts what was done and reports it now and then."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, count: int = 1) -> None:
        self._count += count
        if self._count >= PROGRESS_EVERY:
            tell(f"+{self._count}")
            self._count = 0


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def told_to_finish() -> None:
    """Wait until the run ends (or the process that started this one)."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()
