"""Two fan-outs that differ in one thing, in turn in one process: by how much the thing makes it slower.

Each turn takes some milliseconds of CPU time, and which fan-out begins alternates. Their places in memory differ
as well, so both are built again many times, and which is built first alternates too. The figure is the mean of the
builds' medians, with the 95 % interval of that mean.
"""

import math
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from aerostack_realtime.interpreter import freeze_garbage_collector
from bench.report import table

Publish = Callable[[], None]

SUBSCRIBERS: Final = (2, 10, 1_000)
BUILDS: Final = 30
TURNS: Final = 40
TURN_S: Final = 0.01
WARM_UP: Final = 200
CERTAINTY: Final = 0.5
"""Percent on either side that the interval may have."""
TWO_SIDED: Final = 2.05
"""Of Student's distribution, for 95 % and about 30 builds."""


class Ratio(Struct):
    """CPU time with the thing, as a ratio to that without; `low` and `high` enclose it with 95 %."""

    subscribers: int
    mean: float
    low: float
    high: float

    @property
    def percent(self) -> float:
        return (self.mean - 1) * 100

    @property
    def is_certain(self) -> bool:
        return (self.high - self.low) / 2 * 100 <= CERTAINTY


async def compare(
    build: Callable[[int, bool], Awaitable[Publish]], subscribers: int, builds: int, turns: int
) -> Ratio:
    """The ratio for a channel with `subscribers`. `build` makes a fan-out with the thing, or without it."""
    medians: list[float] = []
    for number in range(builds):
        order = (True, False) if number % 2 else (False, True)
        made = {each: await build(subscribers, each) for each in order}
        freeze_garbage_collector()
        medians.append(_median(made[True], made[False], turns))
    mean = statistics.fmean(medians)
    margin = TWO_SIDED * statistics.stdev(medians) / math.sqrt(builds)
    return Ratio(subscribers, mean, mean - margin, mean + margin)


def report(found: list[Ratio], thing: str) -> str:
    """The table, and a line if it is not certain enough."""
    rows = [
        [f"1 → {each.subscribers:,}", *(f"{(one - 1) * 100:+.2f} %" for one in (each.mean, each.low, each.high))]
        for each in found
    ]
    text = table(["fan-out", f"slower with {thing}", "95 % from", "to"], rows)
    if not all(each.is_certain for each in found):
        text += f"\nThe interval is wider than ± {CERTAINTY} %: repeat with more --builds."
    return text


def _median(having: Publish, without: Publish, turns: int) -> float:
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
    return statistics.median(ratios)


def _seconds(publish: Publish, times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        publish()
    return time.process_time() - begin
