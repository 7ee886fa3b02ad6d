"""Who talks to the server during an outage: readers that count what they are given, and a publisher."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.payload import Payload
from tests.outage.server import SECRET_KEY

TABLE: Final = "items"
KEPT: Final = "outage/kept"
LIGHT: Final = "outage/light"
PATIENCE_SECONDS: Final = 300.0
"""Until what has to come counts as never: an hour of rows is read in seconds."""


def client(url: str) -> Aerostack:
    """One that comes back quickly: how long clients wait by themselves is not what is measured."""
    return Aerostack(url, api_key=SECRET_KEY, backoff=Backoff(0.1, 2.0))


class Reader:
    """A connection that subscribes to rows and to messages, and says at once what is wrong with them.

    Rows are numbered from 0 by the one who writes them, so each has to be the one after the last.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.rows = 0
        """How many rows were handled, so the number of the next."""
        self.messages: list[str] = []
        self.wrong: list[str] = []
        self.lost = 0
        """How often the connection to the server was lost."""
        self.off = 0.0
        """The most, in seconds, that the time of an ephemeral message was from when it came."""
        self._sdk = client(url)
        self._heard = asyncio.Event()

    async def start(self) -> None:
        channels = [
            self._sdk.realtime.channel(topic).on("*", handle)
            for topic, handle in ((TABLE, self._row), (KEPT, self._message), (LIGHT, self._light))
        ]
        for channel in channels:
            await channel.subscribe()
        self._sdk.realtime.on_status_change(self._status)

    async def until(self, rows: int) -> None:
        """Wait until so many rows were handled. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.rows < rows:
                self._heard.clear()
                await self._heard.wait()

    async def until_told(self, id: str) -> None:
        """Wait for a message. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while id not in self.messages:
                self._heard.clear()
                await self._heard.wait()

    async def publish(self, text: str) -> None:
        """Publish a persisted message, which waits for as long as there is no connection."""
        await self._sdk.realtime.channel(KEPT).publish("m", text, persist=True)

    async def close(self) -> None:
        await self._sdk.close()

    def _status(self, status: str) -> None:
        self.lost += status == "reconnecting"

    def _row(self, payload: Payload) -> None:
        if payload.type == "gap":
            self.wrong.append(f"{self.name}: a gap of rows was told after {self.rows}")
        elif payload.data["id"] != self.rows:
            self.wrong.append(f"{self.name}: row {payload.data['id']} came instead of {self.rows}")
            self.rows = payload.data["id"] + 1
        else:
            self.rows += 1
        self._heard.set()

    def _message(self, payload: Payload) -> None:
        if payload.type == "gap":
            self.wrong.append(f"{self.name}: a gap of messages was told after {len(self.messages)}")
        else:
            self.messages.append(payload.data)
        self._heard.set()

    def _light(self, payload: Payload) -> None:
        if payload.timestamp is not None and not self.lost:
            self.off = max(self.off, abs(time.time() - payload.timestamp / 1000))


class Publisher:
    """Publishes a persisted and an ephemeral message `rate` times a second, and asks the database something."""

    def __init__(self, url: str, rate: float) -> None:
        self.stored: list[str] = []
        """Those that were acknowledged, in the order in which they were sent."""
        self.refused: list[str] = []
        """Those that were answered `unavailable`: stored or not, as the answer says."""
        self.outcomes: Counter[str] = Counter()
        self.answers: list[float] = []
        """Seconds until each refusal."""
        self.wrong: list[str] = []
        self._sdk = client(url)
        self._rate = rate
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Send nothing more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._sdk.close()

    async def _run(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(1 / self._rate)
            number += 1
            await self._persisted(f"kept {number}")
            await self._told("ephemeral", self._sdk.realtime.channel(LIGHT).publish("m", number))
            await self._told("query", self._sdk.db.query("SELECT 1"))

    async def _persisted(self, text: str) -> None:
        began = time.monotonic()
        if await self._told("persisted", self._sdk.realtime.channel(KEPT).publish("m", text, persist=True)):
            self.stored.append(text)
        else:
            self.refused.append(text)
            self.answers.append(time.monotonic() - began)

    async def _told(self, what: str, asked: Awaitable[object]) -> bool:
        try:
            await asked
        except AerostackError as error:
            self.outcomes[f"{what} {error.code}"] += 1
            if error.code != "unavailable":
                self.wrong.append(f"{what} was refused with {error.code}: {error.message}")
            return False
        self.outcomes[f"{what} done"] += 1
        return True
