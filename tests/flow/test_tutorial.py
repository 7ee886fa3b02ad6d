"""docs/tutorial.md, typed word for word: the programs are saved and the commands run in the order of the page."""

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.flow.command import ADVICE, environment
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(python|console)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """A block of the page. A console block with a title is a terminal whose program keeps running."""

    kind: str
    title: str
    text: str


def steps() -> Iterator[Step]:
    for kind, title, text in BLOCK.findall(PAGE.read_text()):
        if not text.startswith("$ aerostack dev"):  # the test has a server of its own
            yield Step(kind, title, text)


class Reader:
    """Types the page into a folder."""

    def __init__(self, folder: Path, server: "ServerProcess") -> None:
        self._folder = folder
        self._url = server.url
        scripts = f"{Path(sys.executable).parent}"
        own = environment(AEROSTACK_URL=server.url)
        self._environment = {**own, "PATH": f"{scripts}:{own['PATH']}"}
        self._terminals: dict[str, asyncio.subprocess.Process] = {}

    async def follow(self, step: Step) -> None:
        if step.kind == "python":
            program = step.text.replace("http://127.0.0.1:8787", self._url)
            (self._folder / step.title).write_text(program)
        elif step.title:
            await self._watch(step)
        else:
            await self._type(step.text)

    async def _type(self, text: str) -> None:
        """Commands that end, each followed by what it prints."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            process = await self._run(command)
            printed, _ = await process.communicate()
            assert printed.decode() == expected, command

    async def _watch(self, step: Step) -> None:
        for line in step.text.splitlines():
            if line.startswith("$ "):
                self._terminals[step.title] = await self._run(line.removeprefix("$ "))
                continue
            terminal = self._terminals[step.title]
            assert terminal.stdin is not None
            assert terminal.stdout is not None
            if line == "⏎":
                terminal.stdin.write(b"\n")
                continue
            assert await self._line(terminal.stdout) == line, step.title

    async def _line(self, output: asyncio.StreamReader) -> str:
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = (await output.readline()).decode().rstrip("\n")
            if ADVICE not in line:
                return line

    async def _run(self, command: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_shell(
            f"exec {command}",
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
        )

    async def close(self) -> None:
        for terminal in self._terminals.values():
            if terminal.returncode is None:
                terminal.kill()
            await terminal.communicate()


async def test_the_tutorial_works_as_it_is_typed(server: "ServerProcess", tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    folder.mkdir()
    (folder / "shop.db").symlink_to(server.database.address)
    reader = Reader(folder, server)
    try:
        for step in steps():
            await reader.follow(step)
    finally:
        await reader.close()


def test_the_tutorial_has_its_three_programs() -> None:
    assert [step.title for step in steps() if step.kind == "python"] == ["chat.py", "orders.py", "online.py"]
