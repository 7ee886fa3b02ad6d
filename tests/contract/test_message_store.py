"""The contract of `MessageStore`, against every backend."""

import asyncio

import pytest
from msgspec import Raw

from aerostack_realtime.database.message_store import MessageStore, NewMessage, Retention, Stored
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from tests.contract.conftest import PATIENCE, Stores

TOPIC = "chat/general/default"


class Clock:
    """Ms since the Unix epoch, as the test sets it."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def message(number: int, topic: str = TOPIC, user: str = "ann", data: bytes = b'{"a":1}') -> NewMessage:
    return NewMessage(topic, f"m{number}", user, "message", Raw(data), number)


async def append(store: MessageStore, *messages: NewMessage) -> list[Stored | AerostackError]:
    """Append all at once and wait for every outcome, in the order they come."""
    outcomes: list[Stored | AerostackError] = []
    complete = asyncio.Event()

    def done(outcome: Stored | AerostackError) -> None:
        outcomes.append(outcome)
        if len(outcomes) == len(messages):
            complete.set()

    for one in messages:
        store.append(one, done)
    async with asyncio.timeout(PATIENCE):
        await complete.wait()
    return outcomes


async def created(store: MessageStore, *messages: NewMessage) -> list[int]:
    stamps = []
    for outcome in await append(store, *messages):
        assert isinstance(outcome, Stored)
        stamps.append(outcome.message.created_at)
    return stamps


async def test_a_message_is_read_as_it_was_stored(store: MessageStore) -> None:
    given = message(1, data='{"text":"héllo \\u0000"}'.encode())
    (outcome,) = await append(store, given)
    assert isinstance(outcome, Stored)
    assert not outcome.duplicate
    (found,) = await store.history(TOPIC, 10)
    assert bytes(found.data) == bytes(given.data)
    assert (found.id, found.user_id, found.event, found.position) == ("m1", "ann", "message", 1)
    assert found.created_at == outcome.message.created_at


async def test_outcomes_come_in_the_order_of_the_appends(store: MessageStore) -> None:
    outcomes = await append(store, *(message(number) for number in range(2_500)))
    positions = [outcome.message.position for outcome in outcomes if isinstance(outcome, Stored)]
    assert positions == list(range(2_500))


async def test_created_at_increases_with_equal_and_falling_clocks(stores: Stores) -> None:
    clock = Clock()
    async with stores.open(now=clock) as store:
        assert await created(store, message(1), message(2), message(3, topic="chat/other/default")) == [
            1_000_000,
            1_000_001,
            1_000_000,
        ]
    clock.ms = 5
    async with stores.open(now=clock) as store:
        assert await created(store, message(4)) == [1_000_002]


async def test_paging_by_created_at_neither_repeats_nor_skips(stores: Stores) -> None:
    async with stores.open(now=Clock()) as store:
        await append(store, *(message(number) for number in range(25)))
        seen: list[int] = []
        before: int | None = None
        while page := await store.history(TOPIC, 10, before):
            seen += [found.position for found in page]
            before = page[-1].created_at
        assert seen == list(reversed(range(25)))


async def test_a_repeat_stores_nothing_and_gives_the_first(store: MessageStore) -> None:
    first, repeat, other = await append(store, message(1), message(1), message(1, user="bob"))
    assert isinstance(first, Stored)
    assert isinstance(repeat, Stored)
    assert isinstance(other, Stored)
    assert repeat.duplicate
    assert repeat.message.created_at == first.message.created_at
    assert not other.duplicate
    (later,) = await append(store, message(1))
    assert isinstance(later, Stored)
    assert later.duplicate
    assert len(await store.history(TOPIC, 10)) == 2


async def test_one_message_that_cannot_be_stored_fails_alone(store: MessageStore) -> None:
    bad = NewMessage(TOPIC, "\ud800", "ann", "message", Raw(b"1"), 2)
    first, second, third = await append(store, message(1), bad, message(3))
    assert isinstance(first, Stored)
    assert isinstance(second, AerostackError)
    assert isinstance(third, Stored)


async def test_closing_stores_what_was_accepted(stores: Stores) -> None:
    outcomes: list[Stored | AerostackError] = []
    async with stores.open() as store:
        for number in range(3_000):
            store.append(message(number), outcomes.append)
    assert len(outcomes) == 3_000
    with pytest.raises(Unavailable):
        store.append(message(1), outcomes.append)
    async with stores.open() as store:
        assert len(await store.history(TOPIC, 10_000)) == 3_000


async def test_the_first_retention_that_matches_counts(stores: Stores) -> None:
    clock = Clock()
    retention = [
        Retention("chat/keep*"),
        Retention("chat/*", max_count=3),
        Retention("*", max_age_seconds=10),
    ]
    async with stores.open(now=clock, retention=retention) as store:
        for topic in ("chat/keep/p", "chat/short/p", "news/p"):
            await append(store, *(message(number, topic=topic) for number in range(5)))
        clock.ms += 10_000
        await append(store, message(9, topic="news/p"))
        assert await store.prune(clock.ms + 2) == 2 + 2
        left = {
            topic: [found.position for found in await store.history(topic, 10)]
            for topic in ("chat/keep/p", "chat/short/p", "news/p")
        }
        assert left == {"chat/keep/p": [4, 3, 2, 1, 0], "chat/short/p": [4, 3, 2], "news/p": [9, 4, 3, 2]}
        assert await store.prune(clock.ms + 2) == 0


async def test_the_high_water_mark_never_falls_and_survives(stores: Stores) -> None:
    async with stores.open() as store:
        assert await store.high_water() == 0
        await store.raise_high_water(500)
        await store.raise_high_water(20)
    async with stores.open() as store:
        assert await store.high_water() == 500


async def test_the_messages_after_a_position_come_oldest_first_up_to_another(store: MessageStore) -> None:
    await append(
        store, *(message(number * 1_000) for number in range(1, 11)), message(4_500, topic="chat/other/p")
    )
    found = await store.after(TOPIC, 3_000, 8_000, 3)
    assert [each.position for each in found] == [4_000, 5_000, 6_000]
    found = await store.after(TOPIC, 6_000, 8_000, 3)
    assert [each.position for each in found] == [7_000, 8_000]


async def test_reads_that_are_asked_for_together_have_each_its_page(store: MessageStore) -> None:
    topics = [f"chat/{number}/p" for number in range(5)]
    await append(store, *(message(1_000 * number, topic=topic) for topic in topics for number in range(1, 4)))
    asked = [(topic, position) for topic in topics for position in (0, 1_000, 3_000)]
    pages = await asyncio.gather(*(store.after(topic, position, 3_000, 10) for topic, position in asked))
    found = [[(each.topic, each.position) for each in page] for page in pages]
    assert found == [[(topic, at) for at in (1_000, 2_000, 3_000) if at > position] for topic, position in asked]


async def test_a_clock_that_was_set_back_does_not_hide_messages_from_a_position(stores: Stores) -> None:
    async with stores.open(now=lambda: 5) as store:
        await append(store, message(9_000_000_000))
        assert [each.position for each in await store.after(TOPIC, 8_999_999_999, 10**10, 5)] == [9_000_000_000]
