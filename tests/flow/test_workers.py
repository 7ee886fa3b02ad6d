"""`aerostack serve --workers N`: several nodes on one port of one machine."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.flow.command import COMMAND, aerostack, environment
from tests.flow.conftest import OPEN_RULE, SERVE_KEY
from tests.flow.databases import Database
from tests.flow.wire import PATIENCE_SECONDS, Dial
from tests.redis import RedisServer

pytestmark = pytest.mark.database("postgres")

_LISTENING = re.compile(r"listening on (http://\S+)")


class Machine:
    """The parent and its workers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def until_workers_listen(self, count: int) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            for _ in range(count):
                while (found := _LISTENING.search((await self.process.stdout.readline()).decode())) is None:
                    assert not self.process.stdout.at_eof(), "the workers did not start"
                self.url = found[1]

    def children(self) -> list[int]:
        written = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in written.split()]

    async def nodes(self) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {SERVE_KEY}"}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as session,
            session.get("/api/v1/realtime/nodes") as answer,
        ):
            found: list[dict[str, Any]] = (await answer.json())["nodes"]
            return found


@asynccontextmanager
async def machine(database: Database, redis: RedisServer, place: Path) -> AsyncIterator[Machine]:
    config = place / "aerostack.toml"
    config.write_text(f'secret_keys = ["{SERVE_KEY}"]\nanonymous = true\nport = 0\n{OPEN_RULE}')
    settings = environment(AEROSTACK_DATABASE=database.address, AEROSTACK_BACKPLANE=redis.url)
    with (place / "workers.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "serve", "--config", str(config), "--workers", "2"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=settings,
        )
    try:
        yield Machine(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def test_workers_share_a_port_and_a_dead_one_is_replaced(
    database: Database, redis: RedisServer, tmp_path: Path, dial: Dial
) -> None:
    redis.command("FLUSHALL")
    async with machine(database, redis, tmp_path) as running:
        await running.until_workers_listen(2)
        assert sorted(node["name"].rpartition("/")[2] for node in await running.nodes()) == ["1", "2"]
        wires = [await dial(running) for _ in range(8)]
        for wire in wires:
            await wire.subscribe("room/workers")
        await wires[0].publish("room/workers", 1)
        assert [(await wire.hear("event"))["data"] for wire in wires] == [1] * 8
        os.kill(running.children()[0], signal.SIGKILL)
        await running.until_workers_listen(1)
        assert len(running.children()) == 2
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0


async def test_workers_need_a_backplane(tmp_path: Path) -> None:
    config = tmp_path / "aerostack.toml"
    config.write_text(f'secret_keys = ["{SERVE_KEY}"]\nanonymous = true\n{OPEN_RULE}')
    ran = await aerostack("serve", "--config", str(config), "--workers", "2")
    assert ran.code == 2
    assert "--backplane" in ran.complaint
