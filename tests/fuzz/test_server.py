"""Random commands, sent to the real server by random people: it answers each in its own words, and lives on."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aerostack_realtime.protocol import messages
from tests.flow.calls import Http
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import SqliteFiles
from tests.flow.wire import CLOSE, Wire, frame
from tests.fuzz.words import commands, framed, heads, mutated

SECRET = "the token secret of random people"
SETTINGS = f"""
secret_keys = ["{SERVE_KEY}"]
publishable_keys = ["pk"]
token_secret = "{SECRET}"
[limits]
bad_messages = 1000000
messages_per_second = 0
connects_per_second = 0
[[channels]]
topic = "chat/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"
[[channels]]
topic = "**"
subscribe = "anyone"
publish = "user.id != 'x'"
presence = "anyone"
[[tables]]
name = "orders"
subscribe = "anyone"
rows = "row.status != 'hidden' || row.user_id == user.id"
columns = ["id", "status"]
"""


class World:
    """A server, and the loop that its clients run on."""

    def __init__(self, runner: asyncio.Runner, server: ServerProcess) -> None:
        self.runner = runner
        self.server = server

    async def play(self, frames: list[bytes], credential: str) -> list[dict[str, Any]]:
        """Send the frames, and return what is answered."""
        wire = await Wire.open(self.server.url, protocols=["aerostack-v1", credential])
        try:
            for each in frames:
                wire.write(frame(each))
            return await wire.settled()
        finally:
            wire.drop()

    async def throw(self, data: bytes) -> None:
        """Send bytes over a WebSocket, whatever they are, and whatever becomes of it."""
        wire = await Wire.open(self.server.url)
        wire.write(data)
        wire.write(frame(b"", CLOSE))
        with suppress(OSError):  # it may have been cut by now
            wire.writer.write_eof()
        await wire.ended()
        wire.drop()

    async def request(self, head: bytes) -> bytes:
        """Send bytes to the port, and return the first line that is answered, if any."""
        parts = urlsplit(self.server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(head)
            writer.write_eof()
            return await reader.readline()
        except OSError:  # it was cut
            return b""
        finally:
            writer.transport.abort()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place: Path = tmp_path_factory.mktemp("fuzz")
    (place / "aerostack.toml").write_text(SETTINGS)
    server = ServerProcess(SqliteFiles().new(place), place / "server.log", place / "aerostack.toml")
    server.secret_key = SERVE_KEY

    async def prepare() -> None:
        await server.start()
        async with aiohttp.ClientSession() as session:
            await Http(session, server).sql(
                "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT, user_id TEXT)"
            )
            await Http(session, server).sql("INSERT INTO orders VALUES(1, 'new', 'ann'), (2, NULL, 'bob')")

    with asyncio.Runner() as runner:
        runner.run(prepare())
        yield World(runner, server)
        runner.run(server.close())
    assert "Traceback" not in server.log.read_text()


def credentials() -> list[str]:
    token = jwt.encode({"sub": "ann", "exp": time.time() + 3600}, SECRET, algorithm="HS256")
    return ["aerostack-key.pk", f"aerostack-token.{token}", f"aerostack-key.{SERVE_KEY}"]


WHO = credentials()


@settings(deadline=None)
@example([b'{"type":"auth","token":""}'], "aerostack-key.pk")
@given(st.lists(mutated(commands), min_size=1, max_size=8), st.sampled_from(WHO))
def test_random_commands_are_answered_in_the_words_of_the_protocol(
    world: World, frames: list[bytes], credential: str
) -> None:
    for answer in world.runner.run(world.play(frames, credential)):
        assert answer.get("code") != "internal", (frames, answer)
        assert messages.decode_reply(messages.encode(answer)) is not None


@settings(deadline=None)
@given(framed | st.binary(max_size=200))
def test_random_frames_harm_nobody_else(world: World, data: bytes) -> None:
    world.runner.run(world.throw(data))
    assert world.runner.run(world.play([], WHO[0])) != []


@settings(deadline=None)
@given(heads | st.binary(max_size=200))
def test_random_requests_are_answered_as_http_or_not_at_all(world: World, head: bytes) -> None:
    answer = world.runner.run(world.request(head))
    assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    assert b" 500 " not in answer
