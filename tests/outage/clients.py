"""Who talks to the server during an outage: readers that count what they are given, and a publisher."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
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
    """One that reconnects quickly: how long clients pause is not what is measured."""
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
        self.sdk = client(url)
        self._heard = asyncio.Event()

    async def start(self) -> None:
        channels = [
            self.sdk.realtime.channel(topic).on("*", handle)
            for topic, handle in ((TABLE, self._row), (KEPT, self._message), (LIGHT, self._light))
        ]
        for channel in channels:
            await channel.subscribe()
        self.sdk.realtime.on_status_change(self._status)

    async def until(self, rows: int) -> None:
        """Wait until `rows` rows were handled. Raises TimeoutError."""
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

    async def close(self) -> None:
        await self.sdk.close()

    def _status(self, status: str) -> None:
        self.lost += status == "reconnecting"

    def _row(self, payload: Payload) -> None:
        if payload.name == "gap":
            self.wrong.append(f"{self.name}: a gap of rows was reported after {self.rows}")
        elif payload.data["id"] != self.rows:
            self.wrong.append(f"{self.name}: row {payload.data['id']} came instead of {self.rows}")
            self.rows = payload.data["id"] + 1
        else:
            self.rows += 1
        self._heard.set()

    def _message(self, payload: Payload) -> None:
        if payload.name == "gap":
            self.wrong.append(f"{self.name}: a gap of messages was reported after {len(self.messages)}")
        else:
            self.messages.append(payload.data)
        self._heard.set()

    def _light(self, payload: Payload) -> None:
        if payload.timestamp is not None and not self.lost:
            self.off = max(self.off, abs(time.time() - payload.timestamp / 1000))


class Publisher:
    """Publishes a persisted and an ephemeral message `rate` times a second, and asks the database something; none
    of these waits for the others. `publish` adds a message by another client."""

    def __init__(self, url: str, rate: float) -> None:
        self.stored: list[str] = []
        """Persisted messages that were acknowledged."""
        self.refused: list[str] = []
        """Those that were answered `unavailable`: stored or not, as the answer says."""
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        """Seconds until the refusal that came last."""
        self.wrong: list[str] = []
        self._sdk = client(url)
        self._rate = rate
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        light = self._sdk.realtime.channel(LIGHT)
        self._tasks = [
            asyncio.create_task(self._again(work))
            for work in (
                lambda number: self.publish(self._sdk, f"kept {number}"),
                lambda number: self._answered("ephemeral", light.publish("m", number)),
                lambda number: self._answered("query", self._sdk.db.query("SELECT 1")),
            )
        ]

    async def end(self) -> None:
        """Wait for the answer to what was sent, and send nothing more."""
        self._ending.set()
        await asyncio.gather(*self._tasks)
        await self._sdk.close()

    async def publish(self, sdk: Aerostack, text: str) -> bool:
        """Publish a persisted message; whether it was acknowledged."""
        began = time.monotonic()
        acknowledged = await self._answered(
            "persisted", sdk.realtime.channel(KEPT).publish("m", text, persist=True)
        )
        (self.stored if acknowledged else self.refused).append(text)
        if not acknowledged:
            self.slowest = max(self.slowest, time.monotonic() - began)
        return acknowledged

    async def _again(self, work: Callable[[int], Awaitable[object]]) -> None:
        """Do the work at the rate, but not while it waits for an answer, until the end."""
        for number in count(1):
            with suppress(TimeoutError):
                async with asyncio.timeout(1 / self._rate):
                    await self._ending.wait()
            if self._ending.is_set():
                return
            await work(number)

    async def _answered(self, what: str, asked: Awaitable[object]) -> bool:
        try:
            await asked
        except AerostackError as error:
            self.outcomes[f"{what} {error.code}"] += 1
            if error.code != "unavailable":
                self.wrong.append(f"{what} was refused with {error.code}: {error.message}")
            return False
        self.outcomes[f"{what} done"] += 1
        return True
