"""The engines that the contract of the journal is tested with, each on real servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import time_ns
from typing import Any, Protocol

import pytest

from aerostack_realtime.backplane.factory import open_journal
from aerostack_realtime.backplane.redis.address import parse_address
from aerostack_realtime.backplane.redis.journal import RedisJournal
from aerostack_realtime.backplane.redis.settings import RedisSettings
from tests.contract.backplane.arbiter import SqliteGenerations
from tests.contract.backplane.checker import violations
from tests.contract.backplane.node import Node
from tests.redis import RedisServer


class Cluster(Protocol):
    """Nodes on one journal; the memory journal has one at a time."""

    async def join(self, node_name: str, /) -> Node: ...


class Mark:
    """Where the memory journal keeps its high-water mark."""

    def __init__(self) -> None:
        self.position = 0

    async def high_water(self) -> int:
        return self.position

    async def raise_high_water(self, position: int) -> None:
        self.position = max(self.position, position)


class OneEpoch:
    """A database that was never restored."""

    epoch = "1"

    def understands(self, epoch: str, position: int) -> bool:
        return epoch == self.epoch and position > 1


class MemoryCluster:
    """The nodes of a memory journal, which follow each other."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._mark = Mark()
        self._stack = AsyncExitStack()

    async def join(self, node_name: str, /) -> Node:
        await self._stack.aclose()
        journal = open_journal(
            "memory",
            arbiter=None,
            store=self._mark,
            now=lambda: time_ns() // 1000,
            epochs=OneEpoch(),
        )
        node = await self._stack.enter_async_context(Node(journal))
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        await self._stack.aclose()
        for node in self.nodes:
            assert violations(node) == []


class RedisCluster:
    """Nodes on the Redis at `url`, with an arbiter in a file; each node has a connection of its own to both.

    Leaving the context checks that nothing contradicts the contract.
    """

    def __init__(self, url: str, directory: Path, cluster: str = "cluster-a") -> None:
        self.url = url
        self.nodes: list[Node] = []
        self.arbiters: list[SqliteGenerations] = []
        self._directory = directory
        self._cluster = cluster
        self._stack = AsyncExitStack()

    def journal(self, node_name: str, /, *, url: str | None = None, **settings: Any) -> RedisJournal:
        arbiter = SqliteGenerations(self._directory / f"{self._cluster}.db", self._cluster)
        self.arbiters.append(arbiter)
        return RedisJournal(parse_address(url or self.url), arbiter, node_name, settings=RedisSettings(**settings))

    async def join(self, node_name: str, /, *, url: str | None = None, **settings: Any) -> Node:
        node = await self._stack.enter_async_context(Node(self.journal(node_name, url=url, **settings)))
        self.nodes.append(node)
        return node

    async def __aenter__(self) -> "RedisCluster":
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._stack.aclose()
        for arbiter in self.arbiters:
            arbiter.close()
        if failure == (None, None, None):
            assert violations(*self.nodes) == []


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer.started()
    yield server
    server.remove()


@pytest.fixture
async def redis_cluster(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisCluster]:
    async with RedisCluster(redis_server.url, tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def memory_cluster() -> AsyncIterator[MemoryCluster]:
    cluster = MemoryCluster()
    yield cluster
    await cluster.close()


@pytest.fixture(params=["memory", "redis"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    made: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return made
