"""Stored messages that clients which resume share."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from msgspec import Raw

from aerostack_realtime.channels.shared_history import KEPT_SWEEPS, SharedHistory
from aerostack_realtime.database.message_store import MessageStore, StoredMessage
from aerostack_realtime.protocol.errors import Unavailable

TOPIC = "a/b/p"


def stored(position: int, data: bytes = b"1") -> StoredMessage:
    return StoredMessage(TOPIC, f"{position}", "ann", "e", Raw(data), position, position)


class Store:
    """A store whose reads end when the test opens it."""

    def __init__(self, *messages: StoredMessage) -> None:
        self.messages = messages
        self.open = asyncio.Event()
        self.open.set()
        self.reads: list[tuple[int, int]] = []
        self.fails = False

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        assert topic == TOPIC
        self.reads.append((position, until))
        await self.open.wait()
        if self.fails:
            raise Unavailable("no database")
        return [each for each in self.messages if position < each.position <= until][:limit]


def positions(page: Sequence[StoredMessage] | None) -> list[int] | None:
    return None if page is None else [each.position for each in page]


def shared_of(store: Store, most: int = 1 << 20) -> SharedHistory:
    return SharedHistory(cast(MessageStore, store), most)


async def test_one_read_serves_all_that_wait_for_it_and_those_after() -> None:
    store = Store(stored(2), stored(3))
    shared = shared_of(store)
    store.open.clear()
    waiting = [asyncio.ensure_future(shared.after("e", TOPIC, 1, 5, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    store.open.set()
    assert [positions(each) for each in await asyncio.gather(*waiting)] == [[2, 3]] * 3
    assert positions(await shared.after("e", TOPIC, 1, 5, 10)) == [2, 3]
    assert positions(shared.find("e", TOPIC, 2, 5)) == [3], "also from a later place"
    assert store.reads == [(1, 5)]


async def test_only_what_was_read_to_its_end_is_found() -> None:
    store = Store(stored(2), stored(3), stored(4))
    shared = shared_of(store)
    assert positions(await shared.after("e", TOPIC, 1, 5, 2)) == [2, 3]
    assert shared.find("e", TOPIC, 1, 5) is None, "more may follow"
    await shared.after("e", TOPIC, 3, 5, 2)
    assert [positions(shared.find("e", TOPIC, since, 5)) for since in (1, 3)] == [None, [4]]
    assert shared.find("e", TOPIC, 3, 6) is None
    assert shared.find("another epoch", TOPIC, 3, 5) is None


async def test_a_client_that_leaves_ends_the_reading_for_nobody_else() -> None:
    store = Store(stored(2))
    shared = shared_of(store)
    store.open.clear()
    waiting = [asyncio.ensure_future(shared.after("e", TOPIC, 1, 5, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    store.open.set()
    assert positions(await waiting[1]) == [2]


async def test_a_failed_read_is_not_kept() -> None:
    store = Store(stored(2))
    shared = shared_of(store)
    store.fails = True
    with pytest.raises(Unavailable):
        await shared.after("e", TOPIC, 1, 5, 10)
    store.fails = False
    assert positions(await shared.after("e", TOPIC, 1, 5, 10)) == [2]


async def test_pages_are_kept_for_a_moment_and_within_their_bytes() -> None:
    store = Store(stored(2, b'"' + b"x" * 2_000 + b'"'))
    shared = shared_of(store, 10_000)
    for until in range(2, 9):
        await shared.after("e", TOPIC, 1, until, 10)
    found = [shared.find("e", TOPIC, 1, until) is not None for until in range(2, 9)]
    assert found == sorted(found), "the newest ones are kept"
    assert (found[0], found[-1]) == (False, True)
    for _ in range(KEPT_SWEEPS):
        assert shared.find("e", TOPIC, 1, 8) is not None
        shared.sweep()
    assert shared.find("e", TOPIC, 1, 8) is None
