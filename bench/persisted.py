"""Persisted publishes on two nodes, on one Redis and one PostgreSQL: `python -m bench.persisted`.

Both nodes run on the server's core; Redis, PostgreSQL and the load generator on the other. Every publisher is on
another node than the subscriber of its channel, which receives a message after its commit.

The latency is from when a message was due at 200/s, beside the generator's own, once with cores that may sleep
and once with cores that are kept awake. The rate is of publishes that were
acknowledged, each publisher with as many on their way as the row says. CPU per message is that of each part: on a
machine with more cores, the part that needs most of its core is the limit.
"""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, cast

from msgspec import Struct

from bench import proctree
from bench.clusters import OURS_PERSISTED
from bench.databases import POSTGRES, started
from bench.fanout import own_cost
from bench.generator import Outcome, run_workload
from bench.history import run
from bench.load import websocket
from bench.load.dialects import DIALECTS
from bench.load.handshake import enter
from bench.load.latency import Histogram
from bench.machine import LOAD_CORE, awake, describe
from bench.report import table
from bench.servers import Running
from bench.workloads import ONE_TO_ONE, shortened

SECONDS: Final = 6.0
SHORT_SECONDS: Final = 1.5
WINDOWS: Final = ((16, 16), (16, 256))
"""Publishers, and messages of each that are on their way."""
DRAIN_S: Final = 60.0
_POLL_S: Final = 0.05
_EVERY: Final = 8
"""One acknowledgement in eight is timed."""
_NUMBER: Final = re.compile(rb'"id":"(\d+)"')
_BUDGET_MS, _BUDGET_RATE = 2.0, 20_000


class Saturated(Struct, frozen=True):
    """Acknowledged publishes; CPU in µs per message, and the share of its core that each part used."""

    publishers: int
    window: int
    rate: float
    latency: Histogram
    """From a publish to its acknowledgement."""
    cpu_us: dict[str, float]
    share: dict[str, float]


class _Numbers(asyncio.Protocol):
    """A connection whose frames each name a message by its number; `heard` gets the numbers that have arrived."""

    def __init__(self, heard: Callable[[list[int]], None]) -> None:
        self.failure = ""
        self._heard = heard
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if b'"type":"error"' in data:
            self.failure = f"refused: {data[:300]!r}"
        found = list(map(int, _NUMBER.findall(data)))
        begin = data.rfind(b'"id":"')
        end = data.find(b'"', begin + 6) if begin >= 0 else 0
        self._rest = data[begin if end < 0 else end :]
        if found:
            self._heard(found)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (it is gone either way)
        self.failure = self.failure or "the server has closed a connection"

    def write(self, data: bytes) -> None:
        assert self._transport is not None, "it is connected"
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Pair:
    """A publisher on one node, and a subscriber of its channel on the other."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.topic = f"bench/persisted-{number}"
        self.received = self.acknowledged = self.counted = 0
        self.latency = Histogram()
        self.since = self.until = 0.0
        self._sent: list[float] = []
        self._publisher = _Numbers(self._answered)
        self._subscriber = _Numbers(self._received)
        self._disorder = ""
        head = b'{"type":"publish","topic":"%s","event":"m","persist":true,"data":{"text":"%s"},"id":"'
        self._head = head % (self.topic.encode(), b"x" * 100)

    async def connect(self, here: Running, there: Running) -> None:
        await enter(DIALECTS["aerostack"], there.host, there.port, f"persisted-{self._number}", self._subscriber)
        await enter(DIALECTS["aerostack"], here.host, here.port, None, self._publisher)

    def publish(self, count: int) -> None:
        """In one write, as a busy backend does."""
        first, now = len(self._sent), monotonic()
        self._sent += [now] * count
        frames = [websocket.encode(b'%s%d"}' % (self._head, number)) for number in range(first, first + count)]
        self._publisher.write(b"".join(frames))

    @property
    def published(self) -> int:
        return len(self._sent)

    @property
    def failure(self) -> str:
        return self._disorder or self._publisher.failure or self._subscriber.failure

    @property
    def is_drained(self) -> bool:
        return self.published == self.acknowledged == self.received

    def close(self) -> None:
        self._publisher.close()
        self._subscriber.close()

    def _answered(self, numbers: list[int]) -> None:
        now = monotonic()
        self.acknowledged += len(numbers)
        if self.since <= now < self.until:
            self.counted += len(numbers)
            for number in numbers[::_EVERY]:
                self.latency.add(now - self._sent[number])
        if now < self.until:
            self.publish(len(numbers))

    def _received(self, numbers: list[int]) -> None:
        first, self.received = self.received, self.received + len(numbers)
        if numbers != list(range(first, self.received)):
            self._disorder = self._disorder or f"{self.topic}: {numbers[:5]} instead of {first} and following"


async def saturate(server: Running, publishers: int, window: int, seconds: float) -> Saturated:
    """Publish as acknowledgements come in; check that each message was received once and in order, and stored."""
    nodes = [server, *server.nodes]
    pairs = [_Pair(number) for number in range(publishers)]
    for number, pair in enumerate(pairs):
        await pair.connect(nodes[number % len(nodes)], nodes[(number + 1) % len(nodes)])
    roots = {
        "nodes": [each.pid for each in nodes],
        "Redis": [server.engine],
        "PostgreSQL": [_postmaster(server.database)],
    }
    since = monotonic() + min(1.0, seconds / 3)
    for pair in pairs:
        pair.since, pair.until = since, since + seconds
        pair.publish(window)
    await asyncio.sleep(since - monotonic())
    before, begun = _cpu(roots), monotonic()
    await asyncio.sleep(since + seconds - begun)
    used = {part: after - before[part] for part, after in _cpu(roots).items()}
    took = monotonic() - begun
    async with asyncio.timeout(DRAIN_S):
        while not all(pair.is_drained or pair.failure for pair in pairs):  # noqa: ASYNC110 - looked at rarely
            await asyncio.sleep(_POLL_S)
    for pair in pairs:
        pair.close()
    _check(server, pairs)
    counted = max(1, sum(pair.counted for pair in pairs))
    return Saturated(
        publishers,
        window,
        counted / seconds,
        Histogram().merge(pair.latency for pair in pairs),
        {part: cpu / counted * 1e6 for part, cpu in used.items()},
        {part: cpu / took for part, cpu in used.items()},
    )


def _check(server: Running, pairs: Sequence[_Pair]) -> None:
    """Raises RuntimeError when something was lost, repeated, out of order or refused."""
    failures = [pair.failure for pair in pairs if pair.failure]
    if failures:
        raise RuntimeError(failures[0])
    published = sum(pair.published for pair in pairs)
    ((stored,),) = POSTGRES.execute(server.database, "SELECT count(*) FROM aerostack.messages")
    if stored != published:
        raise RuntimeError(f"{published} were acknowledged, {stored} are stored")


def _postmaster(database: str) -> int:
    ((directory,),) = POSTGRES.execute(database, "SHOW data_directory")
    return int(Path(directory, "postmaster.pid").read_text().split("\n", 1)[0])


def _cpu(roots: dict[str, list[int]]) -> dict[str, float]:
    """Of each part, and of this process without its children, which are the other parts."""
    own = os.times()
    found = {part: sum(map(proctree.cpu_seconds, pids)) for part, pids in roots.items()}
    return found | {"generator": own.user + own.system}


def paced(seconds: float) -> tuple[Outcome, Histogram]:
    """Latencies at 200 messages per second, and the generator's own."""
    fields = shortened(ONE_TO_ONE, seconds).fields
    with OURS_PERSISTED.running() as server:
        outcome = run_workload(OURS_PERSISTED.dialect, server, **fields)
    return outcome, own_cost(fields["rate"], seconds)


def rates(windows: Sequence[tuple[int, int]], seconds: float) -> list[Saturated]:
    """Each on fresh nodes."""
    found = []
    for publishers, window in windows:
        with OURS_PERSISTED.running() as server:
            found.append(run(saturate(server, publishers, window, seconds)))
    return found


def report(latencies: dict[str, tuple[Outcome, Histogram]], saturated: Sequence[Saturated]) -> str:
    """The tables, as Markdown."""

    def ms(latency: Histogram) -> list[str]:
        return [f"{latency.percentile(share):.2f} ms" for share in (0.5, 0.99)]

    rows = []
    for cores, (outcome, own) in latencies.items():
        above = outcome.latency.percentile(0.5) - own.percentile(0.5)
        rows += [
            [f"{cores}: publish on A → received on B", *ms(outcome.latency), ""],
            ["the generator alone", *ms(own), ""],
            ["above the generator's own", f"{above:.2f} ms", "", f"≤ {_BUDGET_MS:g} ms"],
        ]
    first = table(["persisted, 200 messages/s", "p50", "p99", "budget (p50)"], rows)
    parts = list(saturated[0].cpu_us)
    lines = [
        [
            f"{each.publishers} publishers × {each.window}",
            f"{each.rate:,.0f}",
            f"≥ {_BUDGET_RATE:,}",
            *ms(each.latency),
            *(f"{each.cpu_us[part]:.1f} µs ({each.share[part]:.0%})" for part in parts),
            f"{sum(each.cpu_us.values()):.0f} µs",
        ]
        for each in saturated
    ]
    head = ["acknowledged publishes", "per second", "budget", "ack p50", "ack p99", *parts, "all parts"]
    return f"{first}\n\nCPU per message; in brackets, the share of one core:\n\n{table(head, lines)}"


def main() -> int:
    """Measure and print; 1 when a message was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(prog="python -m bench.persisted", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--short", action="store_true", help="one rate, and shorter: under a minute")
    chosen = parser.parse_args()
    seconds = min(chosen.seconds, SHORT_SECONDS) if chosen.short else chosen.seconds
    print("\n".join(f"- {line}" for line in describe()), end="\n\n", flush=True)
    OURS_PERSISTED.prepare()
    with started():
        latencies = {"cores may sleep": paced(seconds)}
        with awake() as is_possible:
            if is_possible:
                latencies["cores awake"] = paced(seconds)
        os.sched_setaffinity(0, {LOAD_CORE})
        saturated = rates(WINDOWS[-1:] if chosen.short else WINDOWS, seconds)
    print(report(latencies, saturated))
    return 0 if all(outcome.correct for outcome, _ in latencies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
