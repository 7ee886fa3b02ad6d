"""The examples for web frameworks run as written, with the Python client beside them."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from aerostack_realtime import Aerostack, Payload
from tests.flow.command import environment
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
COMMANDS = {
    "fastapi": ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app", "--port", "0"),
    "flask": ("-m", "flask", "--app", str(EXAMPLES / "flask_app.py"), "run", "--port", "0"),
    "django": (str(EXAMPLES / "django_app.py"), "runserver", "--noreload", "0"),
}


@asynccontextmanager
async def running(framework: str, server: "ServerProcess") -> AsyncIterator[str]:
    """The example as its first lines say to start it, by its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMANDS[framework]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(AEROSTACK_URL=server.url, PYTHONUNBUFFERED="1"),
    )
    assert process.stdout is not None, "it is a pipe"
    printed = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (address := re.search(r"(http://127\.0\.0\.1:\d+)", printed)) is None:
                line = (await process.stdout.readline()).decode()
                assert line, printed
                printed += line
        yield address[1]
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("framework", COMMANDS)
async def test_an_order_reaches_the_user_as_a_row_and_as_an_event(framework: str, server: "ServerProcess") -> None:
    async with running(framework, server) as url, aiohttp.ClientSession() as browser:
        async with browser.get(url) as page:
            assert f"{server.url}/sdk/aerostack.js" in await page.text()
        async with browser.post(f"{url}/realtime-token") as answer:
            token = (await answer.json())["token"]
        async with Aerostack(server.url, token=token) as sdk, asyncio.timeout(PATIENCE_SECONDS):
            received: dict[str, asyncio.Queue[Payload]] = {}
            for topic in ("orders", "notifications/alice"):
                received[topic] = asyncio.Queue()
                await sdk.realtime.channel(topic).on("*", received[topic].put_nowait).subscribe()
            async with browser.post(f"{url}/orders?item=tea") as answer:
                assert await answer.json() == {"rows": 1}
            row, event = [await queue.get() for queue in received.values()]
    assert row.data == {"id": 1, "customer": "alice", "item": "tea"}
    assert (event.event, event.data) == ("shipped", {"item": "tea"})
