"""What a server does at intervals. Each function is a task that runs until it is cancelled."""

import asyncio
import logging
import time
from typing import Final

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.counters import Histogram
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.gateway.listener import Listener
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.node import microseconds
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
LAG_SECONDS: Final = 0.25
"""How often the lag of the event loop is measured: often enough to see a pause of a quarter of a second."""
PRUNE_SECONDS: Final = 60.0


async def tick(hub: Hub, endpoint: WebSocketEndpoint, listener: Listener) -> None:
    """Check heartbeats and deadlines, and forget what has expired."""
    while True:
        await asyncio.sleep(TICK_SECONDS)
        endpoint.tick(time.monotonic())
        listener.tick()
        hub.sweep()


async def measure_lag(lag: Histogram, every: float = LAG_SECONDS) -> None:
    """Observe how late the event loop calls a timer."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + every
        await asyncio.sleep(every)
        lag.observe(max(0.0, clock() - due))


async def prune(store: MessageStore, every: float = PRUNE_SECONDS) -> None:
    """Delete the stored messages that no retention keeps. A failure is retried with the next round."""
    fails = False
    while True:
        try:
            await store.prune(microseconds() // 1000)
            fails = False
        except AerostackError as error:
            level, fails = logging.DEBUG if fails else logging.WARNING, True
            log.log(level, "cannot prune the history, trying again later: %s", error)
        await asyncio.sleep(every)
