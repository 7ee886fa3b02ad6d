"""A rolling restart that its clients do not notice: restarts units of systemd one by one, under load.

    python scripts/rolling_restart.py ADDRESS SECRET_KEY UNIT=URL ...

ADDRESS is the load balancer's, each URL the own address of a unit's server. Subscribers stay connected through
the load balancer while a writer publishes persisted messages. Exits with 1 unless every subscriber received every
acknowledged message once, in order, and without a gap.
"""

import asyncio
import logging
import sys
import time
from typing import Final

import aiohttp

from aerostack_realtime import Payload, RealtimeClient

SUBSCRIBERS: Final = 20
PAUSE_SECONDS: Final = 0.02
CALM_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 90.0
TOPIC: Final = "chat/rolling-restart"


class Subscriber:
    """A client that stays subscribed, and what it notices."""

    def __init__(self, address: str, key: str) -> None:
        self.client = RealtimeClient(address, api_key=key)
        self.received: list[int] = []
        self.gaps = 0
        self.reconnections = 0
        self.longest_silence = 0.0
        self._heard = time.monotonic()
        self._received_one = asyncio.Event()
        self.client.on_status_change(self._count)

    async def start(self) -> None:
        channel = self.client.channel(TOPIC)
        channel.on("message", self._receive)
        channel.on("gap", self._lose)
        await channel.subscribe()
        self._heard = time.monotonic()

    def _receive(self, event: Payload) -> None:
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self._heard)
        self._heard = now
        self.received.append(event.data)
        self._received_one.set()

    async def wait_for(self, count: int) -> None:
        """Wait until `count` messages have arrived."""
        while len(self.received) < count:
            self._received_one.clear()
            await self._received_one.wait()

    def _lose(self, _: Payload) -> None:
        self.gaps += 1

    def _count(self, status: str) -> None:
        self.reconnections += status == "reconnecting"


class Writer:
    """Publishes numbers until it is asked to stop."""

    def __init__(self, address: str, key: str) -> None:
        self._client = RealtimeClient(address, api_key=key)
        self._stopping = False
        self.acknowledged: list[int] = []
        self.longest_acknowledgement = 0.0

    async def run(self) -> None:
        async with self._client as client:
            while not self._stopping:
                number = len(self.acknowledged)
                began = time.monotonic()
                await client.channel(TOPIC).publish("message", number, persist=True)
                self.longest_acknowledgement = max(self.longest_acknowledgement, time.monotonic() - began)
                self.acknowledged.append(number)
                await asyncio.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        self._stopping = True


async def restart(unit: str, url: str) -> None:
    """Restart a unit and wait until its server is ready."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec("systemctl", "restart", unit)
    if await process.wait():
        raise SystemExit(f"error: systemctl restart {unit} failed.")
    async with aiohttp.ClientSession() as session:
        while True:
            if await ready(session, url):
                break
            await asyncio.sleep(0.1)
    say(f"{unit} restarted, ready after {time.monotonic() - began:.1f} s")


async def ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def show(address: str, key: str, units: dict[str, str]) -> bool:
    """Restart every unit. The value says whether nothing was lost."""
    subscribers = [Subscriber(address, key) for _ in range(SUBSCRIBERS)]
    writer = Writer(address, key)
    try:
        await asyncio.gather(*(each.start() for each in subscribers))
        writing = asyncio.create_task(writer.run())
        for unit, url in units.items():
            await asyncio.sleep(CALM_SECONDS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await restart(unit, url)
        await asyncio.sleep(CALM_SECONDS)
        writer.stop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await writing
            await asyncio.gather(*(each.wait_for(len(writer.acknowledged)) for each in subscribers))
    finally:
        await asyncio.gather(*(each.client.disconnect() for each in subscribers))
    return report(subscribers, writer)


def report(subscribers: list[Subscriber], writer: Writer) -> bool:
    whole = [each.received == writer.acknowledged for each in subscribers]
    gaps = sum(each.gaps for each in subscribers)
    reconnections = sum(each.reconnections for each in subscribers)
    silence = max(each.longest_silence for each in subscribers)
    slowest = writer.longest_acknowledgement
    say(f"{len(writer.acknowledged)} messages acknowledged, the slowest after {slowest:.1f} s")
    say(f"{sum(whole)} of {len(subscribers)} subscribers received each of them once and in order")
    say(f"{gaps} gaps, {reconnections} reconnections, longest silence {silence:.1f} s")
    return all(whole) and gaps == 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # one per reconnection, which are counted
    _, balancer, secret, *pairs = sys.argv
    lossless = asyncio.run(show(balancer, secret, dict(pair.split("=", 1) for pair in pairs)))
    sys.exit(0 if lossless else 1)
