"""A backup that is restored under the nodes of a cluster, which raise the marks of one database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from aerostack_realtime.backplane.base import Generation
from aerostack_realtime.database.message_store import NewMessage, Stored
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.marks import Marks
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, Recorder
from tests.contract.postgres.shop import CUT, ORDERS, Shop
from tests.contract.test_message_store import TOPIC, append, message


class Node:
    """A node's part of the database, without its journal."""

    def __init__(self, name: str, shop: Shop) -> None:
        self.name = name
        self.recorder = Recorder()
        self._shop = shop

    async def open(self) -> None:
        self.database = await PostgresDatabase.open(self._shop.dsn(), self.recorder, node=self.name)
        generations = self.database.generations
        self._generation = await generations.current() or await generations.open(None, "server", 1)
        assert await generations.grant(self.name, self._generation)

    @property
    def generation(self) -> Generation:
        return self._generation

    async def raise_mark(self, position: int) -> bool:
        return await self.database.generations.raise_high_water(self._generation, position)

    async def store(self, new: NewMessage) -> None:
        (outcome,) = await append(self.database.messages, new)
        assert isinstance(outcome, Stored)

    async def positions(self) -> list[int]:
        """Of the messages that a reader is sent as all that are stored."""
        return [each.position for each in await self.database.messages.after(TOPIC, 0, 10_000, 10)]


def undo(shop: Shop, mark: int) -> None:
    """Put the marks back to those of a backup, and remove the messages after it, as a restore does whose log
    was overtaken by writers: nothing else shows that the database is another one."""
    shop.execute(
        f"DELETE FROM aerostack.messages WHERE position > {mark}",
        f"UPDATE aerostack.meta SET value = '{mark}' WHERE key = 'high_water' OR starts_with(key, 'next_mark')",
    )


@pytest.fixture
async def nodes(shop: Shop) -> AsyncIterator[tuple[Node, Node]]:
    shop.execute(ORDERS)
    made = Node("a", shop), Node("b", shop)
    for node in made:
        await node.open()
    await made[0].database.changes.watch("orders")
    yield made
    async with asyncio.timeout(PATIENCE):
        for node in made:
            await node.database.close()


async def raised(node: Node, position: int) -> None:
    """Try until the mark is raised: what is restored has to be reported first."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Unavailable):
                assert await node.raise_mark(position)
                return


async def test_raising_the_mark_of_a_cluster_hides_no_restore(shop: Shop, nodes: tuple[Node, Node]) -> None:
    node, _ = nodes
    assert await node.raise_mark(1_000)
    undo(shop, 900)
    with pytest.raises(Unavailable, match="restored"):
        await node.raise_mark(1_100)
    assert await node.database.messages.high_water() == 900
    shop.execute(CUT)
    await node.recorder.until_interruptions(1)
    await raised(node, 1_100)
    assert await node.database.messages.high_water() == 1_100


async def test_a_mark_of_another_node_hides_no_restore(shop: Shop, nodes: tuple[Node, Node]) -> None:
    """The backup has all that one node has announced, and lacks what the other has stored since."""
    a, b = nodes
    for node in nodes:
        assert await node.raise_mark(1_000)
    await b.store(message(500))
    assert await b.raise_mark(2_000)
    await b.store(message(1_500))
    undo(shop, 1_000)
    assert await a.raise_mark(3_000)
    with pytest.raises(Unavailable, match="restored"):
        await b.positions()
    shop.execute(CUT)
    await b.recorder.until_interruptions(1)
    await raised(b, 4_000)
    assert await b.positions() == [500]


async def test_a_raise_of_a_cluster_without_an_answer_hides_no_restore(
    shop: Shop, nodes: tuple[Node, Node]
) -> None:
    _, node = nodes
    assert await node.raise_mark(1_000)
    await node.store(message(500))
    assert await node.raise_mark(2_000)
    node.database._messages.known_marks = Marks(stored=1_000, next=2_000)  # the last reply is lost
    await node.store(message(1_500))
    undo(shop, 1_000)
    with pytest.raises(Unavailable, match="restored"):
        await node.raise_mark(2_000)
    with pytest.raises(Unavailable, match="restored"):
        await node.positions()
    shop.execute(CUT)
    await node.recorder.until_interruptions(1)
    await raised(node, 2_000)
    assert await node.positions() == [500]


async def test_positions_of_undone_messages_are_not_given_again(shop: Shop, nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    for node in nodes:
        assert await node.raise_mark(2_000)
    undo(shop, 1_000)
    begun = await b.database.generations.open(a.generation, "another server", 1)
    assert begun.start > 2_000
