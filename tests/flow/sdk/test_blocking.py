"""The blocking facade from plain code: a script without an event loop, and threads."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.blocking import Aerostack
from aerostack_realtime.protocol.errors import BadMessage, Unavailable

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

SCRIPT = """
import sys, threading
from aerostack_realtime.blocking import Aerostack

with Aerostack(sys.argv[1], api_key=sys.argv[2]) as sdk:
    sdk.db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY, total DOUBLE PRECISION)")
    sdk.db.batch([("INSERT INTO orders VALUES (?, ?)", [id, id * 1.5]) for id in (1, 2)])
    print(sdk.db.query("SELECT total FROM orders ORDER BY id").rows)
    sdk.publish("chat/general", "message", "first", persist=True)
    sdk.socket.emit("message", "second", "chat/general", persist=True)
    print([message.data for message in sdk.history("chat/general")])
    received = threading.Event()

    def write():
        while not received.is_set():
            sdk.db.query("UPDATE orders SET total = total + 1 WHERE id = 2")

    writer = threading.Thread(target=write)
    writer.start()
    print(next(sdk.listen("orders")).operation)
    received.set()
    writer.join()
"""


async def test_a_plain_script(server: "ServerProcess") -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", SCRIPT, server.url, server.secret_key),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert errors.decode() == ""
    assert output.decode().splitlines() == [
        "[{'total': 1.5}, {'total': 3.0}]",
        "['second', 'first']",
        "UPDATE",
    ]


async def test_threads_share_one_object(server: "ServerProcess") -> None:
    def work() -> int:
        with Aerostack(server.url, api_key=server.secret_key) as sdk, ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: sdk.publish("chat/general", "message", n, persist=True), range(100)))
            return len(sdk.history("chat/general", 1000))

    assert await asyncio.to_thread(work) == 100


async def test_errors_match_the_async_sdk_and_a_closed_object_restarts(
    server: "ServerProcess",
) -> None:
    def work() -> list[dict[str, object]]:
        sdk = Aerostack(server.url, api_key=server.secret_key)
        with sdk, pytest.raises(BadMessage):
            sdk.db.query("SELEC 1")
        with sdk:
            return sdk.db.query("SELECT 1 AS one").rows

    assert await asyncio.to_thread(work) == [{"one": 1}]


def test_a_wrong_argument_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="url"):
        Aerostack("localhost")


def test_a_server_that_is_not_there_is_an_error() -> None:
    with Aerostack("http://127.0.0.1:9") as sdk, pytest.raises(Unavailable, match="No connection"):
        sdk.db.query("SELECT 1")
