"""The proxies' configurations in deploy/, in front of a real server."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime import Payload, RealtimeClient
from tests.flow.reverse_proxy import NAMES, caddy, haproxy, nginx
from tests.flow.wire import PATIENCE_SECONDS, PING, PONG, Wire, frame
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

SETTINGS = 'anonymous = true\ntrusted_proxies = ["127.0.0.1"]\n[limits]\nheartbeat_seconds = 1'
IDLE_SECONDS = 5
"""More than the proxies' time-outs below, with a ping every one or two seconds."""
Serve = Callable[[str], Awaitable["ServerProcess"]]

COMMANDS = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}
RELOADS = {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2}


class Proxy:
    def __init__(self, name: str, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._name = name
        self._process = process

    def reload(self) -> None:
        self._process.send_signal(RELOADS[self._name])


@contextlib.asynccontextmanager
async def running(name: str, server: "ServerProcess", folder: Path) -> AsyncIterator[Proxy]:
    """The proxy, once a WebSocket passes it."""
    port = free_port()
    with (folder / "proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMANDS[name](server.url.removeprefix("http://"), f"127.0.0.1:{port}", folder),
            stdout=log,
            stderr=log,
        )
    try:
        async with RealtimeClient(f"http://127.0.0.1:{port}") as probe, asyncio.timeout(PATIENCE_SECONDS):
            await probe.channel("proxies/probe").subscribe()
        yield Proxy(name, f"http://127.0.0.1:{port}", process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("name", NAMES)
async def test_a_silent_connection_outlives_the_idle_timeout(name: str, serve: Serve, tmp_path: Path) -> None:
    server = await serve(SETTINGS)
    async with running(name, server, tmp_path) as proxy:
        wire = await Wire.open(proxy.url)
        await wire.hear("connected")
        clock = asyncio.get_running_loop().time
        end = clock() + IDLE_SECONDS
        while clock() < end:
            assert await wire.control(PING) == b""
            wire.write(frame(b"", PONG))
        await wire.subscribe("proxies/idle")
        wire.drop()


@pytest.mark.parametrize("name", RELOADS)
async def test_clients_resume_over_a_reload_of_the_proxy(name: str, serve: Serve, tmp_path: Path) -> None:
    server = await serve(SETTINGS)
    async with (
        running(name, server, tmp_path) as proxy,
        RealtimeClient(proxy.url) as reader,
        RealtimeClient(server.url) as writer,
    ):
        heard: asyncio.Queue[Payload] = asyncio.Queue()
        cut = asyncio.Event()
        channel = reader.channel("proxies/reload")
        channel.on("*", heard.put_nowait)
        await channel.subscribe()
        reader.on_status_change(lambda status: cut.set() if status == "reconnecting" else None)
        await writer.channel("proxies/reload").publish("message", 0)
        proxy.reload()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await cut.wait()
            for number in range(1, 50):
                await writer.channel("proxies/reload").publish("message", number)
            events = [await heard.get() for _ in range(50)]
        assert [(event.event, event.data) for event in events] == [("message", number) for number in range(50)]
