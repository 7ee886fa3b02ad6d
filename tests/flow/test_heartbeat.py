"""The heartbeat: the silent are pinged, then let go of (docs/protocol.md §7, 4001)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.flow.wire import PING, Closed, Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]


async def test_only_who_answers_stays(serve: Serve, dial: Dial) -> None:
    server = await serve("anonymous = true\n[limits]\nheartbeat_seconds = 2")
    silent, alive = await dial(server), await dial(server)
    silent.answers_pings = False
    await alive.subscribe("heartbeat/alive")
    listening = asyncio.create_task(alive.hear("event"))
    assert await silent.control(PING) == b""
    with pytest.raises(Closed) as closed:
        await silent.next()
    assert closed.value.code == 4001
    await (await dial(server)).publish("heartbeat/alive", "still here")
    assert (await listening)["data"] == "still here"


async def test_the_heartbeat_is_announced(serve: Serve, dial: Dial) -> None:
    server = await serve("anonymous = true\n[limits]\nheartbeat_seconds = 7")
    wire = await dial(server)
    assert wire.connected["heartbeat"] == 7
