"""The pages of a server: examples for development, one quiet line in production, and `aerostack demo`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from aerostack_realtime import Aerostack
from aerostack_realtime.gateway.http import pages
from tests.flow.command import COMMAND, environment
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")


@pytest.fixture(autouse=True)
def built() -> None:
    assert pages.missing() is None, "make install builds them"


@asynccontextmanager
async def development(command: str, directory: Path, *arguments: str) -> AsyncIterator[str]:
    """`aerostack dev` or `demo` in a directory, by its address."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, command, "--port", "0", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
        cwd=directory,
    )
    assert process.stdout is not None, "it is a pipe"
    line = (await process.stdout.readline()).decode()
    yield line.split("listening on ")[1].strip()
    process.kill()
    await process.communicate()


async def text(url: str) -> tuple[int, str, str]:
    """Status, final path and body."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.url.path, await response.text()


async def test_the_pages_of_dev_connect_to_the_project_of_the_server(tmp_path: Path) -> None:
    async with development("dev", tmp_path, "--project", "shop") as url:
        for page in ("/", "/examples/chat/", "/examples/plain/"):
            assert '<meta name="aerostack-project" content="shop"' in (await text(url + page))[2]


async def test_examples_without_a_slash_are_found(node: "ServerProcess") -> None:
    assert (await text(node.url + "/examples/chat"))[:2] == (200, "/examples/chat/")
    for path in ("/examples", "/examples/"):
        assert (await text(node.url + path))[:2] == (200, "/")


async def test_serve_shows_no_demo_and_no_console(serve: Callable[[str], Awaitable["ServerProcess"]]) -> None:
    server = await serve("anonymous = true")
    assert await text(server.url) == (200, "/", "Aerostack Realtime is running.\n")
    for path in ("/examples/chat/", "/console/", "/console/api/about"):
        assert (await text(server.url + path))[0] == 404
    assert (await text(server.url + "/sdk/aerostack.js"))[0] == 200


async def test_the_demo_starts_with_tables_and_messages(tmp_path: Path) -> None:
    async with (
        development("demo", tmp_path, "--no-browser") as url,
        Aerostack(url, api_key="ac_secret_dev") as sdk,
    ):
        for table in ("todos", "orders", "auctions"):
            assert (await sdk.db.query(f"SELECT count(*) AS n FROM {table}")).rows[0]["n"] > 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            channel = await sdk.realtime.channel("chat/general").subscribe()
            stored = await channel.get_history()
            while len(stored) < 4:
                await anext(aiter(channel))
                stored = await channel.get_history()
    assert stored[-1].data["userName"] == "Amelia"
