"""The contract of `MessageStore` about streams, against every backend."""

import asyncio

import pytest
from msgspec import Raw

from aerostack_realtime.database.message_store import (
    MessageStore,
    NewMessage,
    Retention,
    Stored,
    StoredMessage,
    StreamProgress,
)
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import StreamState
from tests.contract.conftest import PATIENCE, Stores
from tests.contract.test_message_store import Clock, append, message

TOPIC = "chat/general/default"


async def opened(store: MessageStore, id: str = "s", position: int = 5_000, data: bytes = b'""') -> StoredMessage:
    new = NewMessage(TOPIC, id, "bot", "answer", Raw(data), position, stream=StreamProgress(0, "open"))
    [outcome] = await append(store, new)
    if isinstance(outcome, AerostackError):
        raise outcome
    return outcome.message


async def grown(
    store: MessageStore, stream: StoredMessage, n: int, data: bytes, state: StreamState = "open", ended: int = 0
) -> AerostackError | None:
    answer: asyncio.Future[AerostackError | None] = asyncio.get_running_loop().create_future()
    update = StoredMessage(
        stream.topic,
        stream.id,
        stream.user_id,
        stream.event,
        Raw(data),
        stream.position,
        stream.created_at,
        StreamProgress(n, state, ended),
    )
    store.update(update, answer.set_result)
    async with asyncio.timeout(PATIENCE):
        return await answer


async def test_a_stream_grows_at_the_place_where_it_was_opened(store: MessageStore) -> None:
    stream = await opened(store)
    await append(store, message(6_000))
    assert await grown(store, stream, 2, b'"so far"') is None
    later, found = await store.history(TOPIC, 10)
    assert (later.id, later.stream) == ("m6000", None)
    assert (bytes(found.data), found.stream) == (b'"so far"', StreamProgress(2, "open"))
    assert (found.position, found.created_at) == (stream.position, stream.created_at)
    assert await store.open_streams() == [found]
    assert await grown(store, stream, 3, b'"so far."', "complete", 7_000) is None
    assert (await store.history(TOPIC, 10))[1].stream == StreamProgress(3, "complete", 7_000)
    assert await store.open_streams() == []


async def test_what_is_older_than_the_stored_state_changes_nothing(store: MessageStore) -> None:
    stream = await opened(store)
    await grown(store, stream, 5, b'"five"')
    await grown(store, stream, 4, b'"four"')
    [found] = await store.open_streams()
    assert bytes(found.data) == b'"five"'
    await grown(store, stream, 5, b'"five"', "failed", 9_000)
    await grown(store, stream, 6, b'"six"', "complete", 9_001)
    [found] = await store.history(TOPIC, 10)
    assert (bytes(found.data), found.stream) == (b'"five"', StreamProgress(5, "failed", 9_000))


async def test_the_end_of_a_stream_that_lost_pieces_is_stored(store: MessageStore) -> None:
    """As after a failover of the journal."""
    stream = await opened(store)
    await grown(store, stream, 5, b'"five"')
    await grown(store, stream, 4, b'"four"', "complete", 9_000)
    [found] = await store.history(TOPIC, 10)
    assert (bytes(found.data), found.stream) == (b'"four"', StreamProgress(4, "complete", 9_000))


async def test_a_stream_is_replayed_at_its_end(store: MessageStore) -> None:
    stream = await opened(store, position=5_000)
    still_open = await opened(store, "open", position=5_500)
    await append(store, message(6_000), message(8_000))
    await grown(store, stream, 1, b'"x"', "complete", 7_000)
    found = await store.after(TOPIC, 0, 10_000, 10)
    assert [(each.id, each.position) for each in found] == [("m6000", 6_000), ("s", 7_000), ("m8000", 8_000)]
    assert [each.id for each in await store.after(TOPIC, 6_000, 10_000, 1)] == ["s"]
    assert [each.id for each in await store.after(TOPIC, 6_000, 6_999, 10)] == []
    assert [each.id for each in await store.after(TOPIC, 7_000, 10_000, 10)] == ["m8000"]
    await grown(store, still_open, 0, b'""', "failed", 9_000)
    assert [each.id for each in await store.after(TOPIC, 8_000, 10_000, 10)] == ["open"]


async def test_a_stream_that_opened_long_before_is_replayed(stores: Stores) -> None:
    clock = Clock()
    async with stores.open(now=clock) as store:
        stream = await opened(store, position=1_000_000)
        clock.ms += 1_000_000
        await append(store, message(1_500_000_000))
        await grown(store, stream, 1, b'"x"', "complete", 1_600_000_000)
        assert [each.id for each in await store.after(TOPIC, 1_550_000_000, 2_000_000_000, 10)] == ["s"]


async def test_the_id_of_a_stored_stream_gives_how_far_it_is(store: MessageStore) -> None:
    stream = await opened(store)
    await grown(store, stream, 3, b'"abc"', "cancelled", 6_000)
    [outcome] = await append(
        store, NewMessage(TOPIC, "s", "bot", "answer", Raw(b'""'), 9_000, stream=StreamProgress(0, "open"))
    )
    assert isinstance(outcome, Stored)
    assert (outcome.duplicate, outcome.message.stream) == (True, StreamProgress(3, "cancelled", 6_000))


async def test_a_stream_whose_row_is_missing_is_stored_again(store: MessageStore) -> None:
    missing = StoredMessage(
        TOPIC, "gone", "bot", "answer", Raw(b'"text"'), 5_000, 1_000, StreamProgress(4, "open")
    )
    assert await grown(store, missing, 4, b'"text"') is None
    [found] = await store.open_streams()
    assert (found.id, bytes(found.data), found.stream) == ("gone", b'"text"', StreamProgress(4, "open"))


async def test_an_opening_and_its_growth_are_stored_in_one_go(store: MessageStore) -> None:
    """As a writer that does not wait for answers causes it."""
    outcomes: list[object] = []
    complete = asyncio.Event()

    def done(outcome: object) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 3:
            complete.set()

    new = NewMessage(TOPIC, "s", "bot", "answer", Raw(b'""'), 5_000, stream=StreamProgress(0, "open"))
    stream = StoredMessage(TOPIC, "s", "bot", "answer", Raw(b'"a"'), 5_000, 0, StreamProgress(1, "open"))
    ended = StoredMessage(
        TOPIC, "s", "bot", "answer", Raw(b'"ab"'), 5_000, 0, StreamProgress(2, "complete", 5_002)
    )
    store.append(new, done)
    store.update(stream, done)
    store.update(ended, done)
    async with asyncio.timeout(PATIENCE):
        await complete.wait()
    assert outcomes[1:] == [None, None]
    [found] = await store.history(TOPIC, 10)
    assert (bytes(found.data), found.stream) == (b'"ab"', StreamProgress(2, "complete", 5_002))


@pytest.mark.parametrize("rule", [Retention("*", max_count=1), Retention("*", max_age_seconds=1)])
async def test_retention_leaves_open_streams(stores: Stores, rule: Retention) -> None:
    clock = Clock()
    async with stores.open(now=clock, retention=[rule]) as store:
        stream = await opened(store)
        await append(store, *(message(number) for number in range(6_000, 6_010)))
        await store.prune(clock.ms + 5_000)
        assert [each.id for each in await store.open_streams()] == ["s"]
        await grown(store, stream, 1, b'"x"', "complete", 7_000)
        await store.prune(clock.ms + 5_000)
        assert "s" not in [each.id for each in await store.history(TOPIC, 10)]
