"""The arbiter of a cluster: one generation at a time, and licences without which no node commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from aerostack_realtime.backplane.base import Generation, Generations
from aerostack_realtime.database.message_store import LicenceLost, NewMessage, Stored
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.messages.table import Licence, insert, write_of
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, Recorder
from tests.contract.postgres.shop import Shop
from tests.contract.test_message_store import TOPIC, append, message


@asynccontextmanager
async def opened(shop: Shop, *names: str) -> AsyncIterator[list[PostgresDatabase]]:
    databases: list[PostgresDatabase] = []
    try:
        for name in names:
            database = await PostgresDatabase.open(shop.dsn(), Recorder(), node=name)
            databases.append(database)
        yield databases
    finally:
        async with asyncio.timeout(PATIENCE):
            for database in databases:
                await database.close()


async def licensed(database: PostgresDatabase, name: str) -> Generation:
    """The newest generation, for which the node now has its licence."""
    generations = database.generations
    generation = await generations.current() or await generations.open(None, "server", 1)
    assert await generations.grant(name, generation)
    return generation


def waiting(shop: Shop) -> int:
    """How many sessions wait for a lock."""
    return int(shop.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


async def until_waiting(shop: Shop, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(waiting, shop) < count:
            pass


async def test_a_new_database_has_no_generation(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        assert await a.generations.current() is None
        first = await a.generations.open(None, "redis-1", 500)
        assert (first.number, first.server) == (1, "redis-1")
        assert first.start >= 500
        assert await a.generations.current() == first


async def test_positions_of_a_generation_exceed_earlier_ones_and_the_mark(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        first = await a.generations.open(None, "redis-1", 500)
        second = await a.generations.open(first, "redis-2", 7)
        assert second.start > first.start
        assert await a.generations.raise_high_water(second, 10_000)
        third = await a.generations.open(second, "redis-3", 7)
        assert third.start > 10_000
        assert await a.messages.high_water() == 10_000


async def test_concurrent_openings_begin_one_generation(shop: Shop) -> None:
    async with opened(shop, "a", "b", "c") as databases:
        for _ in range(5):
            seen = await databases[0].generations.current()
            opened_ones = await asyncio.gather(
                *(
                    database.generations.open(seen, f"redis-{number}", 1)
                    for number, database in enumerate(databases * 3)
                )
            )
            assert len(set(map(str, opened_ones))) == 1, "the others get what the winner began"
            assert opened_ones[0].number == (0 if seen is None else seen.number) + 1


async def test_a_mark_of_an_old_generation_is_refused(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        first = await a.generations.open(None, "redis-1", 1)
        await a.generations.open(first, "redis-2", 1)
        assert not await a.generations.raise_high_water(first, 1 << 50)
        assert await a.messages.high_water() < 1 << 50


async def test_positions_are_understood_in_the_generation_that_gave_them(shop: Shop) -> None:
    async with opened(shop, "a", "b") as (a, b):
        first = await a.generations.open(None, "redis-1", 100)
        second = await a.generations.open(first, "redis-2", 200)
        await b.generations.current()
        for generations in (a.generations, b.generations):
            understood = [
                generations.understands(number, position)
                for number, position in (
                    (1, first.start),
                    (1, second.start - 1),
                    (1, second.start),
                    (1, first.start - 1),
                    (2, second.start),
                    (2, 1 << 50),
                    (3, 1 << 50),
                )
            ]
            assert understood == [True, True, False, False, True, True, False]


async def test_nodes_of_one_database_have_one_cluster_and_others_another(shop: Shop, postgres_dsn: str) -> None:
    async with opened(shop, "a", "b") as (a, b):
        assert a.generations.cluster == b.generations.cluster != ""
        other = await PostgresDatabase.open(postgres_dsn, Recorder(), node="a")
        assert other.generations.cluster != a.generations.cluster
        await other.close()


async def test_no_licence_is_granted_for_an_old_generation(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        first = await licensed(a, "a")
        second = await a.generations.open(first, "redis-2", 1)
        assert not await a.generations.grant("a", first)
        assert await a.generations.grant("a", second)


async def test_a_node_commits_nothing_before_its_first_licence(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        (refused,) = await append(a.messages, message(1))
        assert isinstance(refused, Unavailable)
        await licensed(a, "a")
        (stored,) = await append(a.messages, message(1))
        assert isinstance(stored, Stored)


async def test_a_node_without_its_licence_commits_nothing(shop: Shop) -> None:
    async with opened(shop, "a", "b") as (a, b):
        await licensed(a, "a")
        await licensed(b, "b")
        (stored,) = await append(a.messages, message(1))
        assert isinstance(stored, Stored)
        await b.generations.revoke("a")
        (refused,) = await append(a.messages, message(2))
        assert isinstance(refused, LicenceLost)
        assert [each.position for each in await b.messages.history(TOPIC, 10)] == [1]
        await licensed(a, "a")
        (again,) = await append(a.messages, message(2))
        assert isinstance(again, Stored)
        assert not again.duplicate


async def test_what_was_stored_before_the_licence_ended_is_not_refused(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        generation = await licensed(a, "a")
        licence = Licence(b"a", generation.number)
        first, second = (write_of(message(number)) for number in (1, 2))
        first.created_at, second.created_at = 1, 2
        async with a._connections.use() as connection:
            await insert(connection, [first], licence)
            await a.generations.revoke("a")
            again = await insert(connection, [first, second], licence)
            assert {key: outcome.duplicate for key, outcome in again.items()} == {first.key: False}
            with pytest.raises(LicenceLost):
                await insert(connection, [second], licence)


async def test_a_late_commit_of_an_earlier_licence_stores_nothing(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        generation = await licensed(a, "a")
        late = write_of(message(1))
        late.created_at = 1
        await a.generations.revoke("a")
        await licensed(a, "a")
        async with a._connections.use() as connection:
            with pytest.raises(LicenceLost):
                await insert(connection, [late], Licence(b"a", generation.number))
        (stored,) = await append(a.messages, message(2))
        assert isinstance(stored, Stored)
        await a.generations.revoke("a")
        (refused,) = await append(a.messages, message(3))
        assert isinstance(refused, LicenceLost), "a renewed licence ends like the first one"


async def test_a_new_generation_ends_all_licences(shop: Shop) -> None:
    async with opened(shop, "a", "b") as (a, b):
        generation = await licensed(a, "a")
        await licensed(b, "b")
        newest = await b.generations.open(generation, "redis-2", 1)
        for database in (a, b):
            (refused,) = await append(database.messages, message(1))
            assert isinstance(refused, Unavailable)
        assert await b.generations.grant("b", newest)
        (stored,) = await append(b.messages, message(1))
        assert isinstance(stored, Stored)
        (refused,) = await append(a.messages, message(2))
        assert isinstance(refused, Unavailable)


@pytest.mark.parametrize("ending", ["revoke", "open"])
async def test_the_end_of_a_licence_waits_for_the_commit_under_way(shop: Shop, ending: str) -> None:
    async with opened(shop, "a", "b") as (a, b):
        generation = await licensed(a, "a")
        with psycopg.connect(shop.dsn()) as blocker:
            # The commit waits for this row, with its node's licence already locked.
            blocker.execute(
                "INSERT INTO aerostack.messages VALUES (%s, 9, 9, 'm1', 'ann', 'e', 'x')", (message(1).topic,)
            )
            committing = asyncio.create_task(append(a.messages, message(1)))
            await until_waiting(shop, 1)
            generations: Generations = b.generations
            end = asyncio.create_task(
                generations.revoke("a") if ending == "revoke" else generations.open(generation, "redis-2", 1)
            )
            await until_waiting(shop, 2)
            assert not end.done()
            blocker.rollback()
        async with asyncio.timeout(PATIENCE):
            (stored,) = await committing
            await end
        assert isinstance(stored, Stored)
        position = message(1).position
        found = await b.stored_at([(TOPIC, position), (TOPIC, 999)])
        assert found == {(TOPIC, position): stored.message.created_at}


async def test_topics_with_messages_between_two_positions_are_found(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        generation = await licensed(a, "a")
        await append(a.messages, message(1))
        position = message(1).position
        for after, until, found in ((position - 1, position, {TOPIC}), (position, position + 9, set[str]())):
            assert await a.with_messages([TOPIC, "room/none/p"], after, until) == found
        following = await a.generations.open(generation, "redis-2", position + 1)
        given = [a.generations.number_of(each) for each in (position, following.start - 1, following.start)]
        assert given == [1, 1, 2]
        assert a.generations.number_of(generation.start - 1) is None


async def test_a_repeated_message_is_a_duplicate_whichever_node_stored_it(shop: Shop) -> None:
    async with opened(shop, "a", "b") as (a, b):
        await licensed(a, "a")
        await licensed(b, "b")
        await append(a.messages, message(1))
        (repeated,) = await append(b.messages, message(1))
        assert isinstance(repeated, Stored)
        assert repeated.duplicate


async def test_a_given_time_is_stored_and_one_in_the_past_is_replaced(shop: Shop) -> None:
    async with opened(shop, "a") as (a,):
        await licensed(a, "a")
        given = 4_000_000_000_000
        first = NewMessage(TOPIC, "1", "ann", "e", message(1).data, 1, created_at=given)
        second = NewMessage(TOPIC, "2", "ann", "e", message(1).data, 2, created_at=given)
        outcomes = await append(a.messages, first, second)
        times = [outcome.message.created_at for outcome in outcomes if isinstance(outcome, Stored)]
        assert times == [given, given + 1]
        found = await a.messages.after(TOPIC, 0, 10, 10)
        assert [(each.position, each.created_at) for each in found] == [(1, given), (2, given + 1)]


async def test_an_unreachable_database_decides_nothing(own: Shop) -> None:
    async with opened(own, "a") as (a,):
        generation = await licensed(a, "a")
        own.server.crash()
        decisions = await asyncio.gather(
            a.generations.current(),
            a.generations.open(generation, "redis-2", 1),
            a.generations.grant("a", generation),
            a.generations.revoke("a"),
            a.generations.raise_high_water(generation, 1),
            return_exceptions=True,
        )
        assert [type(decision) for decision in decisions] == [Unavailable] * 5
        own.server.start()
