"""Publishes numbered messages, many in flight, and records each before it is sent and when it is acknowledged."""

import asyncio
import random
from contextlib import suppress
from itertools import count

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.channel import Channel
from tests.faults.child import TOPICS, Progress, Role, role, tell, told_to_finish
from tests.faults.journal import Journal

WINDOW = 300
"""Publishes in flight."""
BURST = 20
"""Publishes between two looks at the time."""


class Publisher:
    """One life of a publisher."""

    def __init__(self, part: Role) -> None:
        self._part = part
        self._journal = Journal(part.place / f"{part.name}.published")
        self._random = random.Random(f"{part.seed} {part.who}")
        self._free = asyncio.Semaphore(WINDOW)
        self._flying: set[asyncio.Task[None]] = set()
        self._progress = Progress()

    async def run(self) -> None:
        async with self._part.sdk() as sdk:
            await sdk.realtime.connect()
            tell("ready")
            channels = {name: sdk.realtime.channel(topic) for name, topic in TOPICS.items()}
            finish = asyncio.create_task(told_to_finish())
            loop = asyncio.get_running_loop()
            due = loop.time()
            for number in count():
                if number % BURST == 0:
                    due = max(due + (BURST / self._part.rate if self._part.rate else 0), loop.time() - 1)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(finish), max(0.0, due - loop.time()))
                if finish.done():
                    break
                await self._free.acquire()
                name = self._random.choice(list(TOPICS))
                kept = name == "kept" or (name == "mixed" and self._random.random() < 0.5)
                flying = asyncio.create_task(self._publish(channels[name], name, number, kept))
                self._flying.add(flying)
                flying.add_done_callback(self._flying.discard)
            await asyncio.gather(*self._flying)
        tell("done")

    async def _publish(self, channel: Channel, name: str, number: int, kept: bool) -> None:
        who = self._part.who
        self._journal.add("P", name, who, number, int(kept))
        try:
            ack = await channel.publish("m", [who, number], persist=kept)
        except AerostackError as error:
            self._journal.add("E", name, who, number, error.code)
        else:
            self._journal.add("A", name, who, number, ack.cursor, int(ack.duplicate))
            self._progress.add()
        finally:
            self._free.release()


if __name__ == "__main__":
    asyncio.run(Publisher(role()).run())
