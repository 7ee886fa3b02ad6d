"""Random commands, sent to the real server by random people: it answers each in its own words, and lives on."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aerostack_realtime.protocol import messages
from tests.flow.calls import Http
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.wire import Wire, frame
from tests.fuzz.words import commands, mutated

SECRET = "the token secret of random people"
SETTINGS = f"""
secret_keys = ["{SERVE_KEY}"]
publishable_keys = ["pk"]
token_secret = "{SECRET}"
[limits]
bad_messages = 1000000
messages_per_second = 0
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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place: Path = tmp_path_factory.mktemp("fuzz")
    (place / "aerostack.toml").write_text(SETTINGS)
    server = ServerProcess(place / "aerostack.db", place / "server.log", place / "aerostack.toml")
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
