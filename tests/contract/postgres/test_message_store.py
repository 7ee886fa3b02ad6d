"""What a store in PostgreSQL keeps to when connections are cut and servers die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.database.message_store import MessageStore, NewMessage, Retention, Stored
from aerostack_realtime.database.postgres.messages import store as limits
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Overloaded, TooLarge, Unavailable
from tests.contract.conftest import PATIENCE, PostgresStores
from tests.contract.test_message_store import TOPIC, append, message
from tests.postgres import PostgresServer, end_connection

ROLL_BACK_ONCE = """
CREATE SEQUENCE attempts;
CREATE FUNCTION die_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER die_once AFTER INSERT ON aerostack.messages FOR EACH STATEMENT EXECUTE FUNCTION die_once();
"""
"""Ends the first transaction that inserts, with its connection."""


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may crash."""
    server = PostgresServer.started()
    yield server
    server.remove()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[MessageStore]:
    async with PostgresStores(dsn).open() as store:
        yield store


async def prepare(dsn: str, *statements: str) -> None:
    """Run statements in a database with our tables."""
    async with opened(dsn):
        pass
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def positions(store: MessageStore, topic: str = TOPIC) -> list[int]:
    return [found.position for found in await store.history(topic, 10_000)]


def fresh(outcomes: list[Stored | AerostackError]) -> list[int]:
    """The positions of all messages, each stored for the first time."""
    for outcome in outcomes:
        assert isinstance(outcome, Stored)
        assert not outcome.duplicate
    return [outcome.message.position for outcome in outcomes if isinstance(outcome, Stored)]


async def test_a_connection_killed_before_its_commit_costs_nothing(postgres_dsn: str) -> None:
    await prepare(postgres_dsn, ROLL_BACK_ONCE)
    async with opened(postgres_dsn) as store:
        assert fresh(await append(store, message(1), message(2))) == [1, 2]
        assert await positions(store) == [2, 1]


async def test_a_commit_of_a_killed_connection_is_not_repeated(
    own_server: PostgresServer,
) -> None:
    """A commit that waits for a standby is killed: it has taken effect, but the client got no reply."""
    await prepare(own_server.dsn())
    own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    async with opened(own_server.dsn()) as store:
        storing = asyncio.create_task(append(store, message(1), message(2)))
        async with await psycopg.AsyncConnection.connect(own_server.dsn(), autocommit=True) as other:
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            async with asyncio.timeout(PATIENCE):
                while (found := await (await other.execute(waiting)).fetchone()) is None:
                    pass
            await asyncio.to_thread(end_connection, own_server.dsn(), found[0])
            await other.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await other.execute("SELECT pg_reload_conf()")
        assert fresh(await storing) == [1, 2]
        assert await positions(store) == [2, 1]
        (repeat,) = await append(store, message(1))
        assert isinstance(repeat, Stored)
        assert repeat.duplicate


async def test_a_crash_of_the_server_loses_nothing_that_was_acknowledged(own_server: PostgresServer) -> None:
    async with opened(own_server.dsn()) as store:
        assert fresh(await append(store, *(message(number) for number in range(100)))) == list(range(100))
        await asyncio.to_thread(own_server.crash)
        during = asyncio.create_task(append(store, *(message(number) for number in range(100, 200))))
        await asyncio.to_thread(own_server.start)
        assert fresh(await during) == list(range(100, 200))
        assert sorted(await positions(store)) == list(range(200))


async def test_appends_fail_while_the_server_is_down_and_resume_afterwards(
    own_server: PostgresServer,
) -> None:
    clock = asyncio.get_running_loop().time
    async with opened(own_server.dsn()) as store:
        await append(store, message(1))
        await asyncio.to_thread(own_server.crash)
        for numbers, patience in (
            (range(2, 5_000), 6 * limits.COMMIT_SECONDS),
            (range(5_000, 9_000), limits.COMMIT_SECONDS),
        ):
            begun = clock()
            for outcome in await append(store, *(message(number) for number in numbers)):
                assert isinstance(outcome, Unavailable)
            assert clock() - begun < patience
        with pytest.raises(Unavailable):
            await store.history(TOPIC, 10)
        await asyncio.to_thread(own_server.start)
        assert fresh(await append(store, message(3))) == [3]
        assert await positions(store) == [3, 1]


async def test_two_stores_write_into_one_topic_without_a_collision(postgres_dsn: str) -> None:
    stores = PostgresStores(postgres_dsn)
    async with stores.open(now=lambda: 1_000_000) as one, stores.open(now=lambda: 1_000_000) as other:
        await append(one, message(0))
        await append(other, message(1))
        outcomes = await asyncio.gather(
            *(
                append(store, *(message(number, user=user) for number in range(start, start + 20)))
                for start in range(100, 1_000, 100)
                for store, user in ((one, "ann"), (other, "bob"))
            )
        )
        assert all(isinstance(outcome, Stored) for some in outcomes for outcome in some)
        found = await one.history(TOPIC, 10_000)
        assert len(found) == 2 + 2 * 9 * 20
        assert len({each.created_at for each in found}) == len(found)


@pytest.mark.parametrize("field", ["topic", "id", "user_id", "event"])
async def test_a_nul_character_outside_the_data_fails_its_message_alone(postgres_dsn: str, field: str) -> None:
    bad = replace(NewMessage(TOPIC, "bad", "ann", "message", Raw(b"1"), 2), **{field: "a\0b"})
    async with opened(postgres_dsn) as store:
        first, second, third = await append(store, message(1), bad, message(3))
        assert isinstance(first, Stored)
        assert isinstance(second, BadMessage)
        assert isinstance(third, Stored)


async def test_data_is_kept_byte_for_byte(postgres_dsn: str) -> None:
    given = [b'"\\u0000"', b'"\\ud800"', b'{"a":1,"a":2}', b" 1e400 ", '"\U0001f600\'\\\\"'.encode()]
    async with opened(postgres_dsn) as store:
        await append(store, *(message(number, data=data) for number, data in enumerate(given)))
        assert [bytes(found.data) for found in reversed(await store.history(TOPIC, 10))] == given


async def test_messages_that_the_server_refuses_fail_alone(postgres_dsn: str) -> None:
    """Here: an id that is longer than an entry of an index can be."""
    huge = NewMessage(TOPIC, "".join(map(chr, range(0x4E00, 0x6E00))), "ann", "message", Raw(b"1"), 5)
    async with opened(postgres_dsn) as store:
        given = [message(number) for number in range(10)]
        outcomes = await append(store, *given[:5], huge, *given[5:])
        assert isinstance(outcomes.pop(5), TooLarge)
        assert fresh(outcomes) == list(range(10))


async def test_a_store_without_its_table_is_unavailable(postgres_dsn: str) -> None:
    async with opened(postgres_dsn) as store:
        await append(store, message(1))
        with psycopg.connect(postgres_dsn, autocommit=True) as owner:
            owner.execute("ALTER TABLE aerostack.messages RENAME TO moved")
            (outcome,) = await append(store, message(2))
            assert isinstance(outcome, Unavailable)
            assert "aerostack.messages" in outcome.message
            owner.execute("ALTER TABLE aerostack.moved RENAME TO messages")
        assert fresh(await append(store, message(2))) == [2]


async def test_asynchronous_commit_is_overridden_for_messages(postgres_dsn: str) -> None:
    """Nor do its other settings reach the store."""
    await prepare(
        postgres_dsn,
        "CREATE TABLE seen(setting text)",
        """CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          PERFORM pg_sleep(0.05);
          INSERT INTO seen VALUES (current_setting('synchronous_commit'));
          RETURN NULL;
        END $$""",
        "CREATE TRIGGER look AFTER INSERT ON aerostack.messages FOR EACH STATEMENT EXECUTE FUNCTION look()",
    )
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        for setting in (
            "statement_timeout = '10ms'",
            "default_transaction_read_only = on",
            "default_transaction_isolation = serializable",
            "synchronous_commit = off",
        ):
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {setting}".encode())
        async with opened(postgres_dsn) as store:
            assert fresh(await append(store, message(1))) == [1]
        assert owner.execute("SELECT * FROM seen").fetchall() == [("on",)]


async def test_too_many_waiters_are_refused_at_once(postgres_dsn: str) -> None:
    outcomes: list[Stored | AerostackError] = []
    async with opened(postgres_dsn) as store:
        for number in range(limits.WAITING_LIMIT):
            store.append(message(number), outcomes.append)
        with pytest.raises(Overloaded, match="again"):
            store.append(message(limits.WAITING_LIMIT), outcomes.append)
    assert fresh(outcomes) == list(range(limits.WAITING_LIMIT))


async def test_pruning_works_in_steps_and_does_not_block_appends(postgres_dsn: str) -> None:
    now = 1_000_000
    stores = PostgresStores(postgres_dsn)
    async with stores.open(now=lambda: now, retention=[Retention("*", max_count=10)]) as store:
        for topic in (f"chat/{number}/p" for number in range(3)):
            await append(store, *(message(number, topic=topic) for number in range(2_500)))
        pruning = asyncio.create_task(store.prune(now))
        assert fresh(await append(store, message(9_999, topic="chat/new/p"))) == [9_999]
        assert await pruning == 3 * 2_490
        assert await positions(store, "chat/2/p") == list(range(2_499, 2_489, -1))


async def test_a_hanging_server_fails_appends_and_a_retry_stores_once(
    postgres_dsn: str,
) -> None:
    async with opened(postgres_dsn) as store:
        await append(store, message(1))
        with psycopg.connect(postgres_dsn, autocommit=True) as other:
            found = other.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO aerostack.m%'")
            ((pid,),) = found.fetchall()
        os.kill(pid, signal.SIGSTOP)
        try:
            (hung,) = await append(store, message(2))
            assert isinstance(hung, Unavailable)
            assert "may be there" in hung.message
            assert fresh(await append(store, message(2))) == [2]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await positions(store) == [2, 1]
