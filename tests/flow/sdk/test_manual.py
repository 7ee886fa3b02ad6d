"""The programs in docs/python.md run against a real server and print what the page says."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from aerostack_realtime import Channel, RealtimeClient

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

PAGE = Path(__file__).parents[3] / "docs" / "python.md"
BLOCK = re.compile(
    r"^## (?P<title>[^\n]+)$|^```python\n(?P<code>.+?)^```\n(?:\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
SETTINGS = 'token_secret = "a-secret-of-at-least-32-characters"'


class Program(NamedTuple):
    title: str
    code: str
    output: str


def programs() -> list[Program]:
    found, title = [], ""
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["title"]:
            title = block["title"]
        else:
            found.append(Program(title, block["code"], block["output"]))
    return found


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.title)
async def test_a_program_of_the_manual_prints_what_it_says(
    server: "ServerProcess", serve: "Callable[[str], Awaitable[ServerProcess]]", program: Program
) -> None:
    if program.title == "Tokens":
        await server.terminate()  # a SQLite file has one server
        server = await serve(SETTINGS)
    code = program.code
    if "subprocess" not in code:  # it starts a server of its own
        code = code.replace("http://127.0.0.1:8787", server.url).replace("ac_secret_dev", server.secret_key)
    scripts = str(Path(sys.executable).parent)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
    )
    output, errors = await process.communicate()
    assert errors.decode() == ""
    assert output.decode() == program.output


def test_every_program_of_the_manual_states_its_output() -> None:
    assert len(programs()) >= 15
    assert [program.title for program in programs() if not program.output] == []


def test_the_manual_names_every_public_method() -> None:
    reference = PAGE.read_text().partition("## Reference")[2]
    for kind in (Channel, RealtimeClient):
        for name in (name for name in dir(kind) if not name.startswith("_")):
            assert f"`{name}`" in reference
