"""What waits to be appended: batches, their order, and what happens to them when replies are lost."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from aerostack_realtime.backplane.items import AnyItem, Ask, Batch, Beat, Publish, decode_batch
from aerostack_realtime.backplane.redis.appender import FULL, Appender, Target
from aerostack_realtime.backplane.redis.connection import Answered, Connection, ConnectionLost, ServerError
from aerostack_realtime.backplane.redis.scripts import APPEND, PUBLISHED_BYTES, Keys
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable


class Server:
    """The far end of a connection: keeps the appends, and replies when a test asks for it.

    `again` is set when the second append comes; `yielding` are the appends after which other nodes come first.
    """

    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self.answered: list[Answered] = []
        self.abandoned: list[str] = []
        self.again = asyncio.Event()
        self.yielding: list[bool] = []

    def send(self, answered: Answered, *parts: Any, others_first: bool = False) -> None:
        if self.commands:
            self.again.set()
        self.yielding.append(others_first)
        self.commands.append(parts)
        self.answered.append(answered)

    @property
    def batches(self) -> list[Batch]:
        return [decode_batch(command[7]) for command in self.commands]

    def answer(self, reply: Any) -> None:
        self.answered.pop(0)(reply)

    def target(self, channel: str = "entries") -> Target:
        return Target(cast(Connection, self), Keys.of("test"), 1, channel, self.abandoned.append)


@pytest.fixture
async def appender() -> Appender:
    return Appender("me", max_bytes=1000, headroom=10)


@pytest.fixture
async def server() -> Server:
    return Server()


def numbers(batch: Batch) -> list[int]:
    return [item.connections for item in batch.items if isinstance(item, Beat)]


async def append(appender: Appender, *values: int) -> None:
    for value in values:
        appender.append(Beat(connections=value))
    await asyncio.sleep(0)


async def test_one_batch_is_under_way_and_the_rest_is_the_next(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    await append(appender, 1, 2)
    await append(appender, 3)
    await append(appender, 4)
    assert [numbers(batch) for batch in server.batches] == [[1, 2]]
    server.answer(100)
    assert [numbers(batch) for batch in server.batches] == [[1, 2], [3, 4]]
    assert [batch.sequence for batch in server.batches] == [1, 2]


async def test_what_was_not_read_back_is_appended_again_in_order(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    for value in (1, 2, 3):
        await append(appender, value)
        server.answer(100 + value)
    await append(appender, 4)
    server.answer(ConnectionLost("gone"))
    assert server.abandoned == ["gone"]
    appender.confirmed(2)
    other = Server()
    appender.attach(other.target())
    other.answer(200)
    assert [(batch.sequence, numbers(batch)) for batch in other.batches] == [(3, [3]), (4, [4])]


async def test_an_answer_after_the_connection_was_left_changes_nothing(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    await append(appender, 1)
    appender.detach()
    server.answer(100)
    assert appender.unreadable(0, 200) == []


async def test_a_flushed_script_is_sent_in_full(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    await append(appender, 1)
    server.answer(ServerError("NOSCRIPT No matching script."))
    assert server.commands[1][:2] == ("EVAL", APPEND.source)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", Overloaded),
        ("MARK 5", Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable),
        ("MISCONF Redis is configured to save RDB snapshots", Unavailable),
    ],
)
async def test_a_refusal_is_passed_on_until_it_ends(
    appender: Appender, server: Server, words: str, error: type[Exception]
) -> None:
    appender.attach(server.target())
    await append(appender, 1)
    server.answer(ServerError(words))
    with pytest.raises(error):
        appender.append(Beat())
    await server.again.wait()
    server.answer(100)
    await append(appender, 2)
    assert [numbers(batch) for batch in server.batches] == [[1], [1], [2]]


async def test_a_server_that_takes_a_batch_now_and_then_is_logged_once(
    appender: Appender, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    full = ServerError("OOM command not allowed when used memory > 'maxmemory'.")
    appender.attach(server.target())
    await append(appender, 1)
    await append(appender, 2)
    server.answer(full)
    await server.again.wait()
    server.answer(100)
    server.answer(full)
    assert [record.message for record in caplog.records] == [FULL]
    appender.detach()
    appender.attach(server.target())
    server.answer(ServerError("NOREPLICAS Not enough good replicas to write."))
    assert "NOREPLICAS" in caplog.records[-1].message


class Publishers:
    """They take back the beats of these numbers; `asked` are all that they were asked about."""

    def __init__(self, *taken_back: int) -> None:
        self.taken_back = taken_back
        self.asked: list[int] = []
        self.error: AerostackError | None = None

    def refused(self, items: Sequence[AnyItem], error: AerostackError) -> list[int]:
        found = [item.connections for item in items if isinstance(item, Beat)]
        self.asked += found
        self.error = error
        return [index for index, number in enumerate(found) if number in self.taken_back]


REFUSAL = ServerError("OOM command not allowed when used memory > 'maxmemory'.")


async def refusing(publishers: Publishers, server: Server) -> Appender:
    """An appender of which a server has refused 1 and 2 for long enough, while 3 and 4 wait."""
    appender = Appender("me", max_bytes=1000, headroom=10, withdraw_seconds=0.0)
    appender.withdraw = publishers.refused
    appender.attach(server.target())
    await append(appender, 1, 2)
    await append(appender, 3, 4)
    server.answer(REFUSAL)
    assert publishers.asked == []
    await server.again.wait()
    server.answer(REFUSAL)
    return appender


async def test_items_that_are_refused_for_long_are_taken_back(server: Server) -> None:
    publishers = Publishers(1, 4)
    appender = await refusing(publishers, server)
    assert publishers.asked == [1, 2, 3, 4]
    assert isinstance(publishers.error, Overloaded)
    server.again.clear()
    await server.again.wait()
    server.answer(100)
    server.answer(101)
    assert [numbers(batch) for batch in server.batches] == [[1, 2], [1, 2], [2], [3]]
    assert [batch.sequence for batch in server.batches] == [1, 1, 1, 2]
    appender.confirmed(2)
    assert appender.backlog == 0


async def test_a_sign_of_life_tries_again_when_all_was_taken_back(server: Server) -> None:
    appender = await refusing(Publishers(1, 2, 3, 4), server)
    assert appender.backlog == 0
    with pytest.raises(Overloaded):
        appender.append(Ask("id", "kind", b""))
    await append(appender, 5)
    with pytest.raises(Overloaded):
        appender.append(Beat())
    server.answer(100)
    await append(appender, 6)
    assert [numbers(batch) for batch in server.batches] == [[1, 2], [1, 2], [5], [6]]


async def test_nothing_is_taken_back_that_may_have_been_appended(server: Server) -> None:
    publishers = Publishers(1)
    appender = Appender("me", max_bytes=1000, headroom=10, withdraw_seconds=0.0)
    appender.withdraw = publishers.refused
    appender.attach(server.target())
    await append(appender, 1)
    server.answer(ConnectionLost("gone"))
    other = Server()
    appender.attach(other.target())
    for _ in range(3):
        other.answer(REFUSAL)
        await other.again.wait()
        other.again.clear()
    assert publishers.asked == []
    assert {batch.sequence for batch in other.batches} == {1}


@pytest.mark.parametrize("words", ["GENERATION 2", "READONLY You can't write against a read only replica."])
async def test_a_server_of_another_generation_is_abandoned(appender: Appender, server: Server, words: str) -> None:
    appender.attach(server.target())
    await append(appender, 1)
    server.answer(ServerError(words))
    assert len(server.abandoned) == 1


async def test_too_much_is_refused_until_it_is_read_back(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    with pytest.raises(Overloaded):
        await append(appender, *range(1000))
    await asyncio.sleep(0)
    server.answer(100)
    assert appender.backlog > 0
    appender.confirmed(1)
    assert appender.backlog == 0
    await append(appender, 1)


async def test_trimmed_unread_batches_are_reported_with_their_positions(
    appender: Appender, server: Server
) -> None:
    appender.attach(server.target())
    for value in (1, 2):
        await append(appender, value)
        server.answer(100 * value)
    assert [position for position, _ in appender.unreadable(50, 150)] == [100]
    assert [position for position, _ in appender.unreadable(50, 250)] == [200]


async def test_a_floor_is_sent_until_an_append_with_it_was_answered(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    appender.floor = 70
    await append(appender, 1)
    server.answer(ServerError("NOREPLICAS Not enough good replicas to write."))
    await server.again.wait()
    server.answer(100)
    await append(appender, 2)
    server.answer(200)
    appender.floor = 90
    await append(appender, 3)
    assert [command[10] for command in server.commands] == ["70", "70", "0", "90"]
    server.answer(300)
    other = Server()
    appender.attach(other.target())
    assert other.commands[0][10] == "90", "it may lack what the other server had"


async def test_an_item_alone_is_appended_at_once_by_a_quiet_node(server: Server) -> None:
    quiet = Appender("me", max_bytes=1000, headroom=10, lone_seconds=0.0)
    quiet.attach(server.target())
    quiet.append(Beat(connections=1), alone=True)
    assert [numbers(batch) for batch in server.batches] == [[1]]


async def test_an_item_alone_waits_for_others_on_a_busy_node(server: Server) -> None:
    busy = Appender("me", max_bytes=1000, headroom=10, lone_seconds=float("inf"))
    busy.attach(server.target())
    busy.append(Beat(connections=1), alone=True)
    await append(busy, 2)
    assert [numbers(batch) for batch in server.batches] == [[1, 2]]


async def test_nodes_that_wait_for_a_published_batch_come_first(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    await append(appender, 1)
    server.answer(100)
    appender.append(Beat(bookmark="b" * PUBLISHED_BYTES))
    await append(appender)
    assert server.yielding == [True, False], "the large one is not published"


async def test_a_node_comes_first_with_what_it_has_to_store(appender: Appender, server: Server) -> None:
    appender.attach(server.target())
    stored = Publish("a/b", "e", b"1", persist=True)
    appender.append(stored)
    await append(appender)
    server.answer(100)
    appender.append(stored)
    await append(appender, 1)
    server.answer(200)
    appender.append(stored)
    await append(appender)
    assert server.yielding == [False, True, False]


async def test_nobody_comes_first_where_entries_are_only_read(appender: Appender, server: Server) -> None:
    appender.attach(server.target(channel=""))
    await append(appender, 1)
    assert server.yielding == [False]
