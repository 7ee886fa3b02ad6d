"""What an open console costs two nodes with 10,000 connections and 5,000 channels: `python -m bench.console`.

Each channel has a subscriber on either node, so every list is joined from both. A console signs in on the first
node and opens one page after the other as the browser does; on two lists it turns a page every two seconds.
Between the pages it is closed. The cost of a page is the CPU time of each node while it is open, less that of the
closed times before and after it; both are interleaved, so other load on the machine has its part in both.
"""

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.gateway.console.queries import Query, topic_of
from bench.clusters import OURS
from bench.databases import started
from bench.load.dialects import Aerostack
from bench.load.handshake import enter
from bench.load.listener import Listener
from bench.machine import LOAD_CORE, describe
from bench.report import table
from bench.servers import Running

BUDGET = 2.0
"""Percent of a core that an open page may cost a node."""
PAGE = 50
"""Rows of a page of a list, as the console asks for them."""
TURN_S = 2.0
_AT_ONCE = 100
_HEADERS = {"X-Aerostack-Console": "1"}


class Page(Struct, frozen=True):
    """A page of the console. `turns`: its list is paged through."""

    title: str
    query: Query
    turns: bool = False


PAGES = (
    Page("Overview", Query("overview")),
    Page("Channels, turning pages", Query("channels"), turns=True),
    Page("Channels, searched", Query("channels", search="room-12")),
    Page("One channel", Query("channel", name="bench/room-7/default")),
    Page("Connections, turning pages", Query("connections"), turns=True),
    Page("Connections by bytes waiting", Query("connections", order="waiting")),
    Page("Connections, searched", Query("connections", search="127.0.0.1")),
    Page("Tables", Query("tables")),
    Page("Streams", Query("streams")),
    Page("Rules", Query("rules")),
    Page("Logs", Query("log", limit=200)),
)


class Cost(Struct):
    """Percent of a core: of each node while a page is open, and in the closed times around it."""

    page: str
    opened: list[float]
    closed: list[float]
    frames: int

    @property
    def added(self) -> list[float]:
        return [max(0.0, one - other) for one, other in zip(self.opened, self.closed, strict=True)]


def _cpu(pid: int) -> float:
    """CPU seconds of a process, exact to the nanosecond (proc_pid_schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Clients:
    """The connections of all users."""

    def __init__(self, nodes: list[Running], count: int) -> None:
        self._nodes = nodes
        self._count = count
        self._listeners: list[Listener] = []

    async def connect(self) -> None:
        for first in range(0, self._count, _AT_ONCE):
            await asyncio.gather(*map(self._one, range(first, min(first + _AT_ONCE, self._count))))

    async def _one(self, number: int) -> None:
        node, listener = self._nodes[number % len(self._nodes)], Listener(_ignore)
        topic = f"bench/room-{number // len(self._nodes)}"
        await enter(Aerostack(), node.host, node.port, topic, listener)
        self._listeners.append(listener)

    @property
    def gone(self) -> int:
        return sum(each.gone.is_set() for each in self._listeners)

    def close(self) -> None:
        for each in self._listeners:
            each.close()


def _ignore(_content: bytes, _now: float) -> None: ...


class Console:
    """The page in a browser: a session, and while it is open its WebSocket."""

    def __init__(self, http: aiohttp.ClientSession, server: Running) -> None:
        self._http = http
        self._url = f"http://{server.host}:{server.port}"
        self.frames = 0

    async def sign_in(self) -> None:
        headers = {**_HEADERS, "Origin": self._url, "Authorization": f"Bearer {DEV_SECRET_KEY}"}
        async with self._http.post(f"{self._url}/console/api/sign-in", headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    @asynccontextmanager
    async def opened(self, page: Page) -> AsyncIterator[None]:
        address = f"{self._url}/console/api/realtime?projectId=_console"
        async with self._http.ws_connect(address, headers={"Origin": self._url}) as socket:
            reading = asyncio.create_task(self._read(socket))
            looking = asyncio.create_task(self._look(socket, page))
            try:
                yield
            finally:
                looking.cancel()
                reading.cancel()
                await asyncio.gather(looking, reading, return_exceptions=True)

    async def _look(self, socket: aiohttp.ClientWebSocketResponse, page: Page) -> None:
        query = page.query
        while True:
            topic = topic_of(query)
            total = (await self._get(topic)).get("total", 0)
            await socket.send_json({"type": "subscribe", "topic": topic, "slow": "latest", "presence": False})
            if not page.turns:
                return
            await asyncio.sleep(TURN_S)
            await socket.send_json({"type": "unsubscribe", "topic": topic})
            following = query.offset + PAGE
            query = msgspec.structs.replace(query, offset=following if following < total else 0)

    async def _get(self, topic: str) -> dict[str, Any]:
        async with self._http.get(f"{self._url}/console/api/{topic}", headers=_HEADERS) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self.frames += '"type":"event"' in message.data


async def measure(server: Running, connections: int, seconds: float) -> list[Cost]:
    """The cost of every page."""
    nodes = [server, *server.nodes]
    clients = Clients(nodes, connections)
    await clients.connect()
    costs: list[Cost] = []

    async def spent() -> list[float]:
        before, begun = [_cpu(each.pid) for each in nodes], monotonic()
        await asyncio.sleep(seconds)
        passed = monotonic() - begun
        return [(_cpu(each.pid) - one) / passed * 100 for each, one in zip(nodes, before, strict=True)]

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        console = Console(http, server)
        await console.sign_in()
        await spent()  # what connecting left behind
        before = await spent()
        for page in PAGES:
            console.frames = 0
            async with console.opened(page):
                opened = await spent()
            after = await spent()
            closed = [(one + other) / 2 for one, other in zip(before, after, strict=True)]
            costs.append(Cost(page.title, opened, closed, console.frames))
            before = after
    assert clients.gone == 0, f"{clients.gone} clients were disconnected"
    clients.close()
    return costs


def report(costs: list[Cost]) -> str:
    """The table, and whether the budget holds."""
    rows = [
        [each.page, *(f"{one:.2f}" for one in (*each.added, *each.closed)), str(each.frames)] for each in costs
    ]
    heads = ["page", "first node, + %", "second node, + %", "closed, %", "closed, %", "frames"]
    worst = max(node for each in costs for node in each.added)
    return f"{table(heads, rows)}\n\nmost that a page costs a node: {worst:.2f} % of a core (budget {BUDGET:g} %)"


@contextmanager
def _descriptors(count: int) -> Iterator[None]:
    """As many descriptors as the connections need. Ends the program when they cannot be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        sys.exit(f"{count} connections need as many file descriptors; the limit is {hard}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> int:
    """Print the table; 1 when a page costs more than the budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each page is open, and closed")
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    with _descriptors(chosen.connections), started(), OURS.running() as server:
        os.sched_setaffinity(0, {LOAD_CORE})
        costs = asyncio.run(measure(server, chosen.connections, chosen.seconds))
    print(report(costs))
    return int(max(node for each in costs for node in each.added) > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
