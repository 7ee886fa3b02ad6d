"""What the records of `aerostack explain` cost a fan-out: `python -m bench.rings`.

Two hubs in one process, one that keeps the records and one whose records keep nothing, publish in turn: from the
bytes that are read to the write to each subscriber (bench/turns.py).
"""

import argparse
import asyncio
import sys
import time
from typing import Any, Final

from aerostack_realtime.database.sqlite.database import SqliteDatabase
from aerostack_realtime.records import ConnectionRecords
from bench.hotpath import Deaf, publisher
from bench.machine import describe
from bench.servers import scratch
from bench.turns import BUILDS, SUBSCRIBERS, TURNS, Publish, Ratio, compare, report

BUDGET: Final = 1.0
"""Percent that a fan-out may be slower with the records."""


class NoRecords(ConnectionRecords):
    """Records that keep nothing."""

    def connected(self, id: str, person: Any = None) -> None: ...
    def identified(self, id: str, identity: Any) -> None: ...
    def subscribed(self, id: str, command: Any, cursor: str, recovered: bool | None) -> None: ...
    def ended(self, id: str, topic: str, cursor: str, ending: Any) -> None: ...
    def note(self, connection: str, kind: Any, topic: str, **facts: Any) -> None: ...
    def closed(self, id: str, code: int, reason: str, waiting: int) -> None: ...


async def _measure(builds: int, turns: int) -> list[Ratio]:
    with scratch() as directory:
        database = await SqliteDatabase.open(directory / "bench.db", Deaf(), retention=[])

        async def build(subscribers: int, having: bool) -> Publish:
            kind = ConnectionRecords if having else NoRecords
            return await publisher(database, subscribers, kind(time.time))

        try:
            return [await compare(build, each, builds, turns) for each in SUBSCRIBERS]
        finally:
            await database.close()


def main() -> int:
    """Print the table; 1 when a fan-out is slower than the budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.rings", description=__doc__)
    parser.add_argument("--builds", type=int, default=BUILDS, help="how often both hubs are built")
    parser.add_argument("--turns", type=int, default=TURNS, help="turns of each build")
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    found = asyncio.run(_measure(chosen.builds, chosen.turns))
    print(report(found, "records"))
    return int(any(each.percent > BUDGET for each in found))


if __name__ == "__main__":
    sys.exit(main())
