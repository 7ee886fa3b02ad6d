"""The contract of `MessageStore` about messages that replace older ones, against every backend."""

from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.database.message_store import MessageStore, NewMessage, Retention, Stored
from aerostack_realtime.protocol.errors import Conflict
from tests.contract.conftest import Stores
from tests.contract.test_message_store import TOPIC, append, message
from tests.contract.test_stored_streams import opened


def compaction(position: int, compacts: int, id: str = "all", topic: str = TOPIC) -> NewMessage:
    return NewMessage(topic, id, "", "message", Raw(b'"all"'), position, compacts=compacts)


async def positions(store: MessageStore, topic: str = TOPIC) -> list[int]:
    return [each.position for each in await store.after(topic, -1, 10**15, 1_000)]


async def test_a_compaction_replaces_the_older_messages_of_its_event(store: MessageStore) -> None:
    other = NewMessage(TOPIC, "other", "ann", "comment", Raw(b"1"), 2_500)
    elsewhere = message(1_000, topic="chat/other/p")
    await append(store, *(message(each) for each in (1_000, 2_000, 3_000, 4_000)), other, elsewhere)
    open_stream = await opened(store, position=1_500)
    [outcome] = await append(store, compaction(5_000, 3_000))
    assert isinstance(outcome, Stored)
    assert not outcome.duplicate
    assert await positions(store) == [2_500, 4_000, 5_000]
    assert await positions(store, "chat/other/p") == [1_000]
    assert await store.open_streams() == [open_stream]


async def test_a_compaction_keeps_the_messages_that_it_names(store: MessageStore) -> None:
    await append(store, *(message(each) for each in (1_000, 2_000, 3_000, 4_000)))
    await append(store, replace(compaction(5_000, 4_000), keeps=(2_000, 3_000)))
    assert await positions(store) == [2_000, 3_000, 5_000]
    await append(store, replace(compaction(6_000, 5_000, "again"), keeps=(3_000,)))
    assert await positions(store) == [3_000, 6_000]


async def test_a_compaction_behind_another_changes_nothing(store: MessageStore) -> None:
    await append(store, *(message(each) for each in (1_000, 2_000)), compaction(3_000, 1_000, "first"))
    first, between, behind, after = await append(
        store,
        message(4_000),
        message(5_000),
        compaction(6_000, 2_000, "behind"),
        compaction(7_000, 3_000, "after"),
    )
    assert isinstance(behind, Conflict)
    assert isinstance(first, Stored)
    assert isinstance(between, Stored)
    assert isinstance(after, Stored)
    assert await positions(store) == [4_000, 5_000, 7_000]


async def test_a_repeated_compaction_is_a_duplicate(store: MessageStore) -> None:
    await append(store, message(1_000), compaction(2_000, 1_000))
    await append(store, message(3_000))
    [repeat] = await append(store, compaction(4_000, 1_000))
    assert isinstance(repeat, Stored)
    assert repeat.duplicate
    assert repeat.message.position == 2_000
    assert await positions(store) == [2_000, 3_000]


async def test_retention_keeps_the_newest_compaction(stores: Stores) -> None:
    async with stores.open(retention=[Retention("*", max_count=1)], now=lambda: 5) as store:
        await append(store, message(1_000), compaction(2_000, 1_000), message(3_000), message(4_000))
        assert await store.prune(10**9) == 1
        assert await positions(store) == [2_000, 4_000]
