"""What the records of `aerostack explain` cost a fan-out: `python -m bench.rings`.

Two hubs in one process, one that keeps the records and one whose records keep nothing, publish in turn: from the
bytes that are read to the write to each subscriber. Each turn takes some milliseconds of CPU time, and which hub
begins alternates. Their places in memory differ as well, so both are built again many times, and which is built
first alternates too. The figure is the mean of the builds' medians, with the 95 % interval of that mean.
"""

import argparse
import asyncio
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.database.base import Database
from aerostack_realtime.database.sqlite.database import SqliteDatabase
from aerostack_realtime.interpreter import freeze_garbage_collector
from aerostack_realtime.records import ConnectionRecords
from bench.hotpath import Deaf, publisher
from bench.machine import describe
from bench.report import table
from bench.servers import scratch

BUDGET: Final = 1.0
"""Percent that a fan-out may be slower with the records."""
CERTAINTY: Final = 0.5
"""Percent on either side that the interval may have."""
TURN_S: Final = 0.01
SUBSCRIBERS: Final = (2, 10, 1_000)
WARM_UP: Final = 200
TWO_SIDED: Final = 2.05
"""Of Student's distribution, for 95 % and about 30 builds."""


class NoRecords(ConnectionRecords):
    """Records that keep nothing."""

    def connected(self, id: str) -> None: ...
    def identified(self, id: str, identity: Any) -> None: ...
    def subscribed(self, id: str, command: Any, cursor: str, recovered: bool | None) -> None: ...
    def ended(self, id: str, topic: str, cursor: str, ending: Any) -> None: ...
    def note(self, connection: str, kind: Any, topic: str, **facts: Any) -> None: ...
    def closed(self, id: str, code: int, reason: str, waiting: int) -> None: ...


class Ratio(Struct):
    """CPU time with the records, as a ratio to that without; `low` and `high` enclose it with 95 %."""

    subscribers: int
    mean: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        return (self.high - self.low) / 2 * 100 <= CERTAINTY


def _seconds(publish: Callable[[], None], times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        publish()
    return time.process_time() - begin


async def compare(database: Database, subscribers: int, builds: int, turns: int) -> Ratio:
    """The ratio for a channel with so many subscribers."""
    medians: list[float] = []
    for build in range(builds):
        kinds: list[type[ConnectionRecords]] = [ConnectionRecords, NoRecords]
        if build % 2:
            kinds.reverse()
        hubs = {kind: await publisher(database, subscribers, kind(time.time)) for kind in kinds}
        freeze_garbage_collector()
        having, without = hubs[ConnectionRecords], hubs[NoRecords]
        _seconds(without, WARM_UP)
        times = max(1, int(TURN_S / (_seconds(having, WARM_UP) / WARM_UP)))
        ratios = []
        for turn in range(turns):
            if turn % 2:
                other = _seconds(without, times)
                ratios.append(_seconds(having, times) / other)
            else:
                own = _seconds(having, times)
                ratios.append(own / _seconds(without, times))
        medians.append(statistics.median(ratios))
    mean = statistics.fmean(medians)
    margin = TWO_SIDED * statistics.stdev(medians) / math.sqrt(builds)
    return Ratio(subscribers, mean, mean - margin, mean + margin)


async def _measure(builds: int, turns: int) -> list[Ratio]:
    with scratch() as directory:
        database = await SqliteDatabase.open(directory / "bench.db", Deaf(), retention=[])
        try:
            return [await compare(database, each, builds, turns) for each in SUBSCRIBERS]
        finally:
            await database.close()


def main() -> int:
    """Print the table; 1 when a fan-out is slower than the budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.rings", description=__doc__)
    parser.add_argument("--builds", type=int, default=30, help="how often both hubs are built")
    parser.add_argument("--turns", type=int, default=40, help="turns of each build")
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    found = asyncio.run(_measure(chosen.builds, chosen.turns))
    rows = [
        [f"1 → {each.subscribers:,}", *(f"{(one - 1) * 100:+.2f} %" for one in (each.mean, each.low, each.high))]
        for each in found
    ]
    print(table(["fan-out", "slower with records", "95 % from", "to"], rows))
    if not all(each.is_certain for each in found):
        print(f"\nThe interval is wider than ± {CERTAINTY} %: repeat with more --builds.")
    return int(any((each.mean - 1) * 100 > BUDGET for each in found))


if __name__ == "__main__":
    sys.exit(main())
