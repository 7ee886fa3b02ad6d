"""A cluster under test: server processes on one PostgreSQL database and one Redis."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.flow.calls import Http
from tests.flow.databases import Database
from tests.flow.proxy import Proxy
from tests.redis import RedisServer

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 100.0


class ClusterNode:
    """A node and its own way to Redis, which a test can cut."""

    def __init__(self, process: "ServerProcess", way: Proxy) -> None:
        self.process = process
        self._way = way

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def cut_from_redis(self) -> None:
        self._way.cut()

    def join_redis_again(self) -> None:
        self._way.restore()

    async def close(self) -> None:
        await self.process.close()
        await self._way.__aexit__()


class Cluster:
    """`make` makes the process of a node from its log file, its backplane and the directory of its package."""

    def __init__(
        self,
        database: Database,
        redis: RedisServer,
        place: Path,
        make: Callable[[Path, str, Path | None], "ServerProcess"],
    ) -> None:
        self.database = database
        self.redis = redis
        self.nodes: list[ClusterNode] = []
        self._place = place
        self._make = make
        self._session = aiohttp.ClientSession()

    async def add(self, source: Path | None = None) -> ClusterNode:
        """Start another node, and return when it listens. `source`: the directory of its package, if not ours."""
        way = await Proxy(self.redis.url).__aenter__()
        log = self._place / f"node{len(self.nodes)}.log"
        process = self._make(log, way.url.replace("http://", "redis://"), source)
        node = ClusterNode(process, way)
        self.nodes.append(node)
        await process.start()
        return node

    async def start(self, count: int) -> list["ServerProcess"]:
        """The processes of `count` new nodes."""
        nodes = await asyncio.gather(*(self.add() for _ in range(count)))
        return [node.process for node in nodes]

    def http(self, process: "ServerProcess") -> Http:
        return Http(self._session, process)

    async def until_ready(self, process: "ServerProcess", ready: bool = True) -> None:
        """Wait until a node says at /readyz that it is ready, or that it is not."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status, _ = await self.http(process).get("/readyz", key="")
                if (status == 200) == ready:
                    return
                await asyncio.sleep(POLL_SECONDS)  # it has no event to await

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()
        await self._session.close()
