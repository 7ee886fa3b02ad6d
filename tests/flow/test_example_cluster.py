"""examples/cluster: three nodes behind nginx, by one command."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from msgspec import Struct

from tests.flow.command import environment

ROOT = Path(__file__).parents[2]
START_SECONDS = 200.0
_NODE = re.compile(r"process (\d+): --port (\d+) ")
_READY = re.compile(r"the cluster is at (http://\S+);")


class Example(Struct):
    """`nodes`: the process of each node by its address."""

    url: str
    nodes: dict[str, int]


@asynccontextmanager
async def example() -> AsyncIterator[Example]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.cluster", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )
    assert process.stdout is not None, "it is a pipe"
    found = Example("", {})
    try:
        async with asyncio.timeout(START_SECONDS):
            while not found.url:
                line = (await process.stdout.readline()).decode()
                assert line, "the example ended"
                if node := _NODE.search(line):
                    found.nodes[f"127.0.0.1:{node[2]}"] = int(node[1])
                if ready := _READY.search(line):
                    found.url = ready[1]
        yield found
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def connected_node(session: aiohttp.ClientSession, url: str) -> str:
    """The node that a page's WebSocket reaches, as nginx names it in a cookie."""
    session.cookie_jar.clear()
    path = f"{url}/api/realtime?projectId=default&userId=ann"
    async with session.ws_connect(path, protocols=["aerostack-v1"], headers={"Origin": url}) as socket:
        assert (await socket.receive_json())["type"] == "connected"
    return str(session.cookie_jar.filter_cookies(socket._response.url)["node"].value)


async def test_the_example_moves_clients_away_from_a_killed_node() -> None:
    async with example() as running, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(running.url) as page:
            assert "A cluster of three nodes" in await page.text()
        first = await connected_node(session, running.url)
        os.kill(running.nodes[first], signal.SIGKILL)
        assert await connected_node(session, running.url) in running.nodes.keys() - {first}
