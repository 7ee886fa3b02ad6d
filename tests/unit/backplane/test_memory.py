"""The memory journal: items enter at once, and positions continue above those of the last run."""

import asyncio

from aerostack_realtime.backplane.items import AnyItem, Beat, Publish
from aerostack_realtime.backplane.memory import RESERVE_US, MemoryJournal
from aerostack_realtime.protocol.errors import Unavailable

HOUR = 3_600_000_000


class Store:
    """A message store with nothing but its high-water mark; `stored` is set when one was raised."""

    def __init__(self, mark: int = 0) -> None:
        self.mark = mark
        self.failures = 0
        self.stored = asyncio.Event()

    async def high_water(self) -> int:
        return self.mark

    async def raise_high_water(self, position: int) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("The database is away.")
        self.mark = max(self.mark, position)
        self.stored.set()


class Database:
    """A database that understands its epochs called `db`."""

    epoch = "e"

    def understands(self, epoch: str, position: int) -> bool:
        return epoch == "db" and position > 0


class Listener:
    """Everything that a journal reports."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, str, AnyItem]] = []
        self.begun: list[tuple[int, int]] = []

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        self.entries.append((position, at, node, item))

    def began(self, since: int, until: int) -> None:
        self.begun.append((since, until))

    def cut_off(self) -> None:
        raise AssertionError("a memory journal is never cut off")

    reconnected = cut_off

    def refused(self, items: object, error: object) -> tuple[int, ...]:
        raise AssertionError("a memory journal takes an item or raises")


async def started(store: Store, now: list[int], listener: Listener) -> MemoryJournal:
    journal = MemoryJournal(store=store, now=lambda: now[0], epochs=Database(), retry_seconds=0)
    await journal.start(listener)
    return journal


async def test_an_item_enters_inside_append() -> None:
    listener, now = Listener(), [HOUR]
    journal = await started(Store(), now, listener)
    item = Publish("chat/a/P", "m", b"1")
    journal.append(item)
    assert listener.begun == [(0, 0)]
    assert listener.entries == [(HOUR, HOUR, journal.node, item)]
    assert (journal.last, journal.epoch, journal.size_floor) == (HOUR, "e", 0)
    await journal.close()


async def test_positions_go_on_above_the_mark_of_the_last_run() -> None:
    store, listener, now = Store(mark=2 * HOUR), Listener(), [HOUR]
    journal = await started(store, now, listener)
    journal.append(Beat())
    assert listener.begun == [(0, 2 * HOUR)]
    assert listener.entries[0][0] == 2 * HOUR + 1
    assert store.mark > 2 * HOUR


async def test_the_time_of_items_does_not_go_back_with_the_wall_clock() -> None:
    listener, now = Listener(), [2 * HOUR]
    journal = await started(Store(), now, listener)
    journal.append(Beat())
    now[0] = HOUR
    journal.append(Beat())
    journal.trim(journal.last)
    assert [at for _, at, _, _ in listener.entries] == [2 * HOUR, 2 * HOUR + 1]


async def test_the_high_water_mark_is_kept_ahead_of_the_clock() -> None:
    store, listener, now = Store(), Listener(), [HOUR]
    journal = await started(store, now, listener)
    keeping = asyncio.create_task(journal.run())
    store.stored.clear()
    now[0] += RESERVE_US
    journal.append(Beat())
    await store.stored.wait()
    assert store.mark > now[0]
    keeping.cancel()


async def test_a_mark_that_cannot_be_stored_is_stored_later() -> None:
    store, listener, now = Store(), Listener(), [HOUR]
    journal = await started(store, now, listener)
    keeping = asyncio.create_task(journal.run())
    store.stored.clear()
    store.failures = 2
    now[0] += RESERVE_US
    journal.append(Beat())
    await store.stored.wait()
    assert store.mark > now[0]
    keeping.cancel()


async def test_an_epoch_that_ended_is_understood_while_the_process_lives() -> None:
    database = Database()
    database.epoch = "before"

    def journal() -> MemoryJournal:
        return MemoryJournal(store=Store(), now=lambda: HOUR, epochs=database)

    running = journal()
    assert running.epoch == "before"
    database.epoch = "after"
    assert running.epoch == "after"
    assert running.understands("before", 5)
    assert running.understands("db", 5)
    assert not running.understands("other", 5)
    assert not journal().understands("before", 5), "but not by the next process"
