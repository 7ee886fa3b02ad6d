"""Waits until the server has compacted a document."""

import asyncio

from aerostack_realtime import Aerostack


async def until_compacted(sdk: Aerostack, topic: str, most: int) -> int:
    """Wait until at most `most` messages of a document are stored, and return their number. A compaction is itself
    a message, which arrives after the ones that it replaces are deleted."""
    channel = sdk.realtime.channel(topic)
    arrived = asyncio.Event()
    channel.on("*", lambda _: arrived.set())
    await channel.subscribe()
    while (stored := len(await sdk.history(topic, 1_000))) > most:
        await arrived.wait()
        arrived.clear()
    return stored
