"""The command explains every cause of docs/guides/explain.md with the code and the sentence of the guide."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from aerostack_realtime import Explanation
from tests.flow.causes import produce
from tests.flow.command import aerostack
from tests.flow.conftest import SERVE_KEY
from tests.flow.scene import Asked, expected
from tests.flow.wire import PATIENCE_SECONDS
from tests.postgres import PostgresServer
from tests.redis import RedisServer

AT_ONCE = 4
"""Commands that run at a time."""


async def test_the_command_explains_every_cause_as_the_guide_says(
    tmp_path: Path, postgres_server: PostgresServer, redis: RedisServer
) -> None:
    promised = {each.cause: each for each in expected()}
    wrong = []
    async with AsyncExitStack() as on:
        asked = await produce(on, tmp_path, postgres_server, redis)
        assert sorted(each.cause for each in asked) == sorted(promised)
        for first in range(0, len(asked), AT_ONCE):
            part = asked[first : first + AT_ONCE]
            for each, found in zip(part, await asyncio.gather(*map(explained, part)), strict=True):
                row = promised[each.cause]
                if found.code != row.code or not re.fullmatch(row.sentence, found.verdict):
                    wrong.append((each.cause, found.code, found.verdict))
    assert wrong == []


async def explained(asked: Asked) -> Explanation:
    """What the command prints."""
    question = dict(asked.question)
    positional = [question.pop(name) for name in ("topic", "event") if name in question]
    options = [part for name, value in question.items() for part in (f"--{name}", value)]
    where = ("--url", asked.url, "--key", SERVE_KEY)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (ran := await aerostack("explain", *positional, *options, *where, "--json")).code:
            assert "error: unavailable: " in ran.err  # a busy machine may keep Redis waiting
    return msgspec.json.decode(ran.out, type=Explanation)
