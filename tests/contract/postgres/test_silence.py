"""A network path to PostgreSQL that silently drops packets: every waiting caller times out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, TypeVar

import pytest

from aerostack_realtime.database.base import DatabaseUnusable, Replay, Selection
from aerostack_realtime.database.message_store import OutcomeUnknown
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.diagnostics import diagnose
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.heard import Heard
from tests.contract.postgres.shop import ORDERS, Shop, ids
from tests.contract.test_message_store import TOPIC, append, message
from tests.contract.test_stored_streams import grown, opened
from tests.faults.network import Network
from tests.postgres import PostgresServer

SILENCE = 1.0
"""Seconds of silence after which PostgreSQL is out of reach, in these tests."""
STATEMENT = 1.0
"""Seconds that a statement may take."""
SMALL = 50_000
"""Bytes of changes in memory: some hundred of the tests' rows."""

_numbers = count(1)
Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """With keep-alives of its own that come too late for these tests."""
    made = PostgresServer.started(tcp=True, settings={"wal_sender_timeout": "60s"})
    yield made
    made.remove()


@pytest.fixture
def shop(server: PostgresServer) -> Iterator[Shop]:
    name = f"silent{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    yield Shop(server, name)
    server.drop_database(name)


@pytest.fixture
async def line(server: PostgresServer) -> AsyncIterator[Network]:
    """Between us and PostgreSQL; writers are beside it."""
    async with Network(server.port) as network:
        yield network


@asynccontextmanager
async def watching(
    shop: Shop, line: Network, recorder: Recorder, **settings: Any
) -> AsyncIterator[PostgresDatabase]:
    shop.execute(ORDERS)
    chosen = {"silence_seconds": SILENCE, "statement_seconds": STATEMENT} | settings
    dsn = f"postgresql://postgres@127.0.0.1:{line.port}/{shop.name}?connect_timeout=2"
    database = await until_answered(
        lambda: PostgresDatabase.open(dsn, recorder, settings=PostgresSettings(**chosen))
    )
    try:
        await until_answered(lambda: database.changes.watch("orders"))
        yield database
    finally:
        async with asyncio.timeout(PATIENCE):
            await database.close()


async def until_answered(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try until PostgreSQL answers: on a busy machine that may take longer than the limit, connected or not."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Unavailable, DatabaseUnusable):
                answer = await attempt()
                if not isinstance(answer[0] if isinstance(answer, list) else answer, Unavailable):
                    return answer


async def test_silence_is_detected_and_later_changes_arrive_once(
    shop: Shop, line: Network, recorder: Recorder, heard: Heard
) -> None:
    async with watching(shop, line, recorder):
        shop.insert(1)
        await recorder.until_changes(1)
        line.silence()
        async with asyncio.timeout(PATIENCE):
            said = await heard.until("row changes are not received")
        assert "PostgreSQL has been silent for 1 s" in said
        shop.insert(2, 3)
        line.heal()
        shop.insert(4)
        await recorder.until_changes(4)
        assert ids(recorder) == [1, 2, 3, 4]
        assert recorder.interruptions == []


async def test_an_idle_server_is_not_considered_silent(
    shop: Shop, line: Network, recorder: Recorder, heard: Heard
) -> None:
    """It is asked, and answers, which may take a busy machine a second; a statement may take longer."""
    async with watching(shop, line, recorder, silence_seconds=3.0, statement_seconds=20.0) as database:
        await database.query("SELECT pg_sleep(4)")
        shop.insert(1)
        await recorder.until_changes(1)
        assert heard.lines == []


async def test_a_publish_fails_when_the_database_does_not_reply(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder) as database:
        await until_answered(lambda: append(database.messages, message(1)))
        line.silence()
        async with asyncio.timeout(PATIENCE):
            (sent,) = await append(database.messages, message(2))
            (unsent,) = await append(database.messages, message(3))
        assert isinstance(sent, OutcomeUnknown)
        assert "may be there" in sent.message
        assert isinstance(unsent, Unavailable)
        assert not isinstance(unsent, OutcomeUnknown)
        assert "was not stored" in unsent.message
        with pytest.raises(Unavailable):
            await database.messages.history(TOPIC, 10)
        line.heal()
        await until_answered(lambda: append(database.messages, message(4)))
        stored = await positions(database)
        assert stored == [4, 1], "what was swallowed is not there"


async def test_a_repeated_commit_keeps_its_place_in_the_history(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder) as database:
        await until_answered(lambda: append(database.messages, message(1)))
        line.silence()
        async with asyncio.timeout(PATIENCE):
            (sent,) = await append(database.messages, message(2))
        assert isinstance(sent, OutcomeUnknown)
        line.heal()
        await until_answered(lambda: append(database.messages, message(3)))
        (again,) = await until_answered(lambda: append(database.messages, message(2)))
        assert not isinstance(again, AerostackError)
        assert again.message.position == 2
        stored = await positions(database)
        assert stored == [3, 2, 1], "it was accepted before the third message"


async def test_a_stream_may_have_ended_when_the_database_does_not_reply(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder) as database:
        stream = await until_answered(lambda: opened(database.messages))
        line.silence()
        async with asyncio.timeout(PATIENCE):
            sent = await grown(database.messages, stream, 1, b'"x"', "complete", 7_000)
            unsent = await grown(database.messages, stream, 1, b'"x"', "complete", 7_000)
        assert isinstance(sent, OutcomeUnknown)
        assert isinstance(unsent, Unavailable)
        assert not isinstance(unsent, OutcomeUnknown)
        line.heal()
        await until_answered(lambda: grown(database.messages, stream, 1, b'"x"', "complete", 7_000))


async def test_a_query_ends_after_its_timeout_and_the_silence_limit(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder) as database:
        await until_answered(lambda: database.query("SELECT 1"))
        line.silence()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable, match=r"has been silent for 2 s.*may or may not have taken effect"):
                await database.query("INSERT INTO orders VALUES (1, 'new')")
        line.heal()
        counted = await until_answered(lambda: database.query("SELECT count(*) AS n FROM orders"))
        assert counted.rows == [{"n": 0}]


async def test_a_snapshot_ends_when_the_server_is_silent(shop: Shop, line: Network, recorder: Recorder) -> None:
    """Its statements may take any time, so that it is the log's silence that tells."""
    shop.execute("CREATE TABLE big AS SELECT i AS id FROM generate_series(1, 5000) i")
    async with watching(shop, line, recorder) as database:
        await until_answered(lambda: database.changes.watch("big"))

        async def read(after_each: Callable[[], object] = lambda: None) -> int:
            count = 0
            async with database.snapshot("big", Selection(lambda row: True)) as snapshot:
                async for rows in snapshot:
                    count += len(rows)
                    after_each()
            return count

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable, match="has been silent"):
                await read(line.silence)
        line.heal()
        assert await until_answered(read) == 5000


async def test_a_silent_server_fails_a_replay_that_continues_later(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        shop.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 50000) i")
        await recorder.until_changes(50_000)
        first = await until_answered(lambda: part(database, since))
        assert first.more, "its reader is left for the next part"
        line.silence()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable):
                await read_on(database, first)
        line.heal()
        changes, parts = await until_answered(lambda: replay(database, "orders", since))
        assert changes == recorder.changes
        assert all(each.recovered for each in parts)


async def test_a_replay_continues_after_its_walsender_is_killed(
    shop: Shop, line: Network, recorder: Recorder
) -> None:
    async with watching(shop, line, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        shop.execute("INSERT INTO orders SELECT i, repeat('-', 400) FROM generate_series(1, 50000) i")
        await recorder.until_changes(50_000)
        first = await until_answered(lambda: part(database, since))
        shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'")
        with pytest.raises(Unavailable, match="again"):
            await read_on(database, first)


async def test_silence_during_setup_is_detected(
    shop: Shop, line: Network, recorder: Recorder, heard: Heard
) -> None:
    async with watching(shop, line, recorder):
        shop.insert(1)
        await recorder.until_changes(1)
        line.silence()
        shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aerostack'")
        shop.insert(2)
        await heard.until("row changes are not received")
        line.heal()
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]


async def test_a_check_of_a_silent_server_says_so(shop: Shop, line: Network) -> None:
    line.silence()
    with pytest.raises(DatabaseUnusable, match="that the server runs"):
        await diagnose(
            f"postgresql://postgres@127.0.0.1:{line.port}/{shop.name}?connect_timeout=2",
            slot=None,
            publication="aerostack",
            resume_bytes=0,
        )


async def positions(database: PostgresDatabase) -> list[int]:
    """Those of the stored messages, the newest first."""
    return [found.position for found in await until_answered(lambda: database.messages.history(TOPIC, 10))]


async def part(database: PostgresDatabase, since: str) -> Replay:
    """One part of a replay. Raises AerostackError."""
    answer: asyncio.Future[Replay] = asyncio.get_running_loop().create_future()
    failed: Callable[[AerostackError], None] = answer.set_exception
    database.changes.replay("orders", since, answer.set_result, failed)
    async with asyncio.timeout(PATIENCE):
        return await answer


async def read_on(database: PostgresDatabase, last: Replay) -> None:
    """What follows a part, to its end. Raises AerostackError."""
    while last.more:
        last = await part(database, last.cursor)
