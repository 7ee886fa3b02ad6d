"""A node's place in its cluster: the database and the journal under one name, and the right to commit."""

import asyncio
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from aerostack_realtime.backplane.base import Generations, Journal
from aerostack_realtime.backplane.factory import MEMORY, open_journal
from aerostack_realtime.backplane.redis.settings import RedisSettings
from aerostack_realtime.channels.cluster import NodeInfo
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.config import Settings
from aerostack_realtime.database.base import Cluster, Database
from aerostack_realtime.database.factory import open_database
from aerostack_realtime.database.message_store import Retention
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

if TYPE_CHECKING:
    from aerostack_realtime.backplane.redis.journal import RedisJournal

_VARIABLE: Final = re.compile(r"\{[^}]*\}")
NAME_BYTES: Final = 8
"""Random bytes of a node's id: no two starts of any nodes share one."""


class Node(Struct, frozen=True):
    """The parts that a node has in common with the cluster. `cluster` is None for a node that is alone."""

    database: Database
    journal: Journal
    cluster: "Licences | None"

    @property
    def keep(self) -> Callable[[bool], None] | None:
        """What is called with whether this node does what exactly one has to do."""
        return None if self.cluster is None else self.cluster.database.set_keeper

    async def close(self) -> None:
        """Append and store what was accepted, then disconnect."""
        await self.journal.close()
        await self.database.close()


class Licences:
    """The right of nodes to commit, which the database grants for a generation of the journal."""

    def __init__(self, database: Cluster, journal: "RedisJournal") -> None:
        self.database = database
        self._journal = journal

    async def grant(self, node: str) -> bool:
        generation = self._journal.generation
        if generation is None:
            raise Unavailable("The journal is out of reach.")
        return await self.database.generations.grant(node, generation)

    async def revoke(self, node: str) -> None:
        await self.database.generations.revoke(node)

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return await self.database.stored_at(places)

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        return await self.database.with_messages(topics, after, until)


async def open_unless(stop: asyncio.Event, settings: Settings, changes: ChangeFanOut) -> Node | None:
    """The node; None when `stop` is set before: a server that stands by waits for as long as another runs.

    Raises as `open_node`.
    """
    opening = asyncio.create_task(open_node(settings, changes))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not opening.done():
        opening.cancel()
        with suppress(asyncio.CancelledError, AerostackError):
            await (await opening).close()
        return None
    return await opening


async def open_node(settings: Settings, changes: ChangeFanOut) -> Node:
    """Open the database, and make the journal, which `Hub.start` starts. Raises DatabaseUnusable."""
    name = None if settings.backplane == MEMORY else secrets.token_hex(NAME_BYTES)
    kept = [Retention(_VARIABLE.sub("*", each.topic)) for each in settings.documents]
    rules = [Retention(rule.pattern, rule.max_age_seconds, rule.max_count) for rule in settings.retention]
    database = await open_database(settings.database, changes, settings, retention=[*kept, *rules], node=name)
    shared = database.cluster
    arbiter: Generations | None = None if shared is None else shared.generations
    journal = open_journal(
        settings.backplane,
        arbiter=arbiter,
        store=database.messages,
        now=microseconds,
        epochs=database,
        node=name,
        redis=RedisSettings(name=settings.backplane_name, max_log=settings.backplane_bytes),
    )
    return Node(database, journal, None if name is None or shared is None else _licences(shared, journal))


def _licences(database: Cluster, journal: Journal) -> Licences | None:
    from aerostack_realtime.backplane.redis.journal import RedisJournal

    return Licences(database, journal) if isinstance(journal, RedisJournal) else None


def info(settings: Settings, version: str) -> NodeInfo:
    """What this node says of itself to the others."""
    name = settings.node_name or f"{socket.gethostname()}:{settings.port}"
    return NodeInfo(name, version, clock=time.monotonic)


def microseconds() -> int:
    return time.time_ns() // 1000
