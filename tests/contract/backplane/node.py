"""A node of a test: a journal, what it handed over, and what was appended to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Protocol, Self

from msgspec import Struct

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import AnyItem, Publish
from aerostack_realtime.protocol.errors import AerostackError

PATIENCE = 100.0
"""Seconds after which what a test waits for is not going to come."""
TICK = 0.02
"""Seconds between the appends of a node that publishes steadily."""


class Entry(Struct, frozen=True):
    position: int
    at: int
    node: str
    item: AnyItem


class Began(Struct, frozen=True):
    """`after` is how many items were handed over before it; `last` is the journal's when it was reported."""

    since: int
    until: int
    after: int
    last: int
    epoch: str


class Recorder:
    """A JournalListener that remembers, and lets a test wait for what it is handed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.entries: list[Entry] = []
        self.began_calls: list[Began] = []
        self.reach: list[str] = []
        self.withdrawing: list[AnyItem] = []
        self.withdrawn: list[AnyItem] = []
        self._heard = asyncio.Event()

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        self.entries.append(Entry(position, at, node, item))
        self._heard.set()

    def began(self, since: int, until: int) -> None:
        self.began_calls.append(Began(since, until, len(self.entries), self.journal.last, self.journal.epoch))
        self._heard.set()

    def cut_off(self) -> None:
        self.reach.append("cut off")
        self._heard.set()

    def reconnected(self) -> None:
        self.reach.append("reconnected")
        self._heard.set()

    def refused(self, items: Sequence[AnyItem], error: AerostackError) -> Collection[int]:
        """Refuse what a test withdraws."""
        indexes = [index for index, item in enumerate(items) if item in self.withdrawing]
        self.withdrawn += [items[index] for index in indexes]
        self._heard.set()
        return indexes

    async def until(self, satisfied: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not satisfied():
                self._heard.clear()
                await self._heard.wait()

    @property
    def gaps(self) -> list[Began]:
        """What was reported after the start."""
        return self.began_calls[1:]

    async def until_gap(self, count: int = 1) -> None:
        await self.until(lambda: len(self.gaps) >= count)

    async def until_cut_off(self) -> None:
        await self.until(lambda: self.reach[-1:] == ["cut off"])

    async def until_reconnected(self) -> None:
        """Until it reports so. On a busy machine it may be cut off more than once."""
        await self.until(lambda: self.reach[-1:] == ["reconnected"])

    async def until_more(self, count: int = 100) -> None:
        wanted = len(self.entries) + count
        await self.until(lambda: len(self.entries) >= wanted)

    async def until_item(self, item: AnyItem) -> Entry:
        await self.until(lambda: any(entry.item == item for entry in self.entries))
        return next(entry for entry in self.entries if entry.item == item)


class Opens(Protocol):
    def __call__(self) -> Journal: ...


def publish(text: str) -> Publish:
    return Publish("custom/room/default", "message", text.encode(), "someone")


class Node:
    """Use as a context manager: the journal is started and runs inside."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.heard = Recorder(journal)
        self.accepted: list[AnyItem] = []
        self.refused: list[AnyItem] = []
        self.running: asyncio.Task[None] | None = None
        self._number = 0
        self._publishing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.journal.start(self.heard)
        self.running = asyncio.create_task(self.journal.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.quiet()
        if self.running is not None:
            self.running.cancel()
            with suppress(asyncio.CancelledError):
                await self.running
        await self.journal.close()

    def append(self, item: AnyItem | None = None) -> AnyItem:
        """Append `item`, or the next numbered one. Raises as the journal does."""
        if item is None:
            self._number += 1
            item = publish(f"{self.journal.node} {self._number}")
        try:
            self.journal.append(item)
        except AerostackError:
            self.refused.append(item)
            raise
        self.accepted.append(item)
        return item

    def publish_steadily(self) -> None:
        """Append a few items each 20 ms until `quiet`, whatever the journal says."""
        self._publishing = asyncio.create_task(self._publish())

    async def quiet(self) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
            self._publishing = None

    async def append_when_accepted(self) -> AnyItem:
        """Append the next item as soon as the journal takes one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(AerostackError):
                    return self.append()
                await asyncio.sleep(TICK)

    async def until_refused(self) -> AerostackError:
        """Append until the journal takes nothing more; its reason."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    self.append()
                except AerostackError as error:
                    return error
                await asyncio.sleep(0)

    async def _publish(self) -> None:
        while True:
            for _ in range(3):
                with suppress(AerostackError):
                    self.append()
            await asyncio.sleep(TICK)


async def settle(*nodes: Node) -> None:
    """Return when each node has read one more item of each node, and so all that came before."""
    items = [await node.append_when_accepted() for node in nodes]
    for node in nodes:
        for item in items:
            await node.heard.until_item(item)
