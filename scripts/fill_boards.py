"""Fills the boards of deploy/grafana and draws them: `python -m scripts.fill_boards DIRECTORY [--seconds 300]`.

Starts PostgreSQL, Redis, two nodes and a Prometheus that scrapes them each second. Users chat, follow orders and
come and go; a shop writes rows; some make mistakes. At the end `scripts/draw_boards.mjs` writes the pictures.
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from aerostack_realtime import Aerostack, AerostackError, Channel
from bench.machine import ROOT, free_port
from bench.servers import Plan, running, scratch
from tests.postgres import PostgresServer
from tests.redis import RedisServer

KEY: Final = "ac_secret_of_the_boards"
SETTINGS: Final = """
anonymous = true
secret_keys = ["ac_secret_of_the_boards"]
[[channels]]
topic = "chat/{room}"
subscribe = "anyone"
publish = "anyone"
presence = "anyone"
history = "anyone"
[[channels]]
topic = "cursors/{page}"
subscribe = "anyone"
publish = "anyone"
[[tables]]
name = "orders"
subscribe = "anyone"
"""
USERS: Final = 40
ROOMS: Final = 8


class Users:
    """What users do, on both nodes in turn."""

    def __init__(self, urls: list[str], seconds: float) -> None:
        self._urls = urls
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._seconds = seconds
        self._number = 0

    @property
    def is_over(self) -> bool:
        """A little later than the boards are drawn."""
        return self._loop.time() - self._began >= self._seconds + 15

    @property
    def activity(self) -> float:
        """Between 0.2 and 1: two waves of users in the whole time."""
        passed = (self._loop.time() - self._began) / self._seconds
        return 0.6 - 0.4 * math.cos(4 * math.pi * passed)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * seconds / self.activity)

    @contextlib.asynccontextmanager
    async def client(self, api_key: str | None = None) -> AsyncIterator[Aerostack]:
        self._number += 1
        async with Aerostack(self._urls[self._number % len(self._urls)], api_key=api_key) as sdk:
            yield sdk

    async def chat(self, number: int) -> None:
        """Enter a room, talk, and leave it, again and again; each time from the cursor of the last."""
        topic, cursor = f"chat/{number % ROOMS}", None
        while not self.is_over:
            async with self.client() as sdk:
                room = await sdk.realtime.channel(topic, since=cursor).subscribe()
                room.on("*", lambda _: None)  # only what was handled moves the cursor
                await room.track({"name": f"user {number}"})
                await self._talk(room)
                cursor = room.cursor
            await self.pause(2)

    async def _talk(self, room: Channel) -> None:
        for _ in range(random.randint(10, 40)):
            if self.is_over:
                return
            if random.random() < 0.05:
                await room.get_history(20)
            await room.publish("message", {"text": "x" * random.randint(20, 300)}, persist=random.random() < 0.3)
            await self.pause(0.5)

    async def point(self, number: int) -> None:
        """Move a cursor over a page that others look at."""
        async with self.client() as sdk:
            page = await sdk.realtime.channel(f"cursors/{number % 2}", slow="latest").subscribe()
            while not self.is_over:
                await page.publish("moved", {"x": random.random(), "y": random.random()})
                await self.pause(0.1)

    async def follow(self) -> None:
        """Read the orders and their changes, for a while each time."""
        while not self.is_over:
            async with self.client() as sdk, sdk.realtime.table("orders", order="-total", limit=20) as orders:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(5, 20)):
                        async for _ in orders:
                            pass

    async def sell(self) -> None:
        """Write orders."""
        async with self.client(KEY) as sdk:
            while not self.is_over:
                await sdk.db.query("INSERT INTO orders (total) VALUES (?)", [random.random()])
                await self.pause(0.05)

    async def err(self) -> None:
        """Publish where nobody may, and use a wrong key."""
        while not self.is_over:
            async with self.client() as sdk:
                with contextlib.suppress(AerostackError):
                    await sdk.realtime.channel("secrets/1").publish("event", 1)
            async with self.client("ac_secret_that_is_wrong") as sdk:
                with contextlib.suppress(AerostackError):
                    await sdk.db.query("SELECT 1")
            await self.pause(3)

    async def all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(USERS):
                tasks.create_task(self.chat(number))
            for number in range(6):
                tasks.create_task(self.point(number))
                tasks.create_task(self.follow())
            tasks.create_task(self.sell())
            tasks.create_task(self.err())


@contextlib.contextmanager
def prometheus(ports: list[int], directory: Path) -> Iterator[str]:
    """A Prometheus that scrapes the nodes on these ports; its address."""
    scrapes = {
        "job_name": "aerostack",
        "authorization": {"credentials": KEY},
        "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
    }
    config = directory / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrapes]}))
    port = free_port()
    with subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def fill(pictures: Path, seconds: float) -> None:
    """Run the nodes with their users for this number of seconds, and draw the boards."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        postgres, redis = PostgresServer.started(), RedisServer.started()
        stack.callback(postgres.remove)
        stack.callback(redis.remove)
        config = directory / "aerostack.toml"
        config.write_text(f'database = "{postgres.dsn()}"\nbackplane = "{redis.url}"\nport = 0\n{SETTINGS}')
        command = [str(ROOT / ".venv/bin/aerostack"), "serve", "--config", str(config)]
        nodes = [stack.enter_context(running(Plan(command, directory), directory)) for _ in range(2)]
        urls = [f"http://127.0.0.1:{node.port}" for node in nodes]
        address = stack.enter_context(prometheus([node.port for node in nodes], directory))
        asyncio.run(_run(urls, seconds, address, pictures))


async def _run(urls: list[str], seconds: float, prometheus: str, pictures: Path) -> None:
    """Draw the boards while the users are there."""
    async with Aerostack(urls[0], api_key=KEY) as sdk:
        await sdk.db.query("CREATE TABLE orders (id bigserial PRIMARY KEY, total float8)")
    users = asyncio.create_task(Users(urls, seconds).all())
    await asyncio.wait([users], timeout=seconds)
    script = str(ROOT / "scripts/draw_boards.mjs")
    drawing = await asyncio.create_subprocess_exec("node", script, prometheus, str(pictures), str(round(seconds)))
    if await drawing.wait():
        sys.exit("the boards could not be drawn")
    await users


def main() -> int:
    """Fill the boards and draw them."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fill_boards", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the pictures are written")
    parser.add_argument("--seconds", type=float, default=300, help="how long users are there")
    chosen = parser.parse_args()
    fill(chosen.directory, chosen.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
