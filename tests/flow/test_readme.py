"""The README's programs and its tour run as written, and print what it shows."""

import asyncio
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.command import ADVICE, COMMAND, environment
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

README = (Path(__file__).parents[2] / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8787"
STAYS = ("aerostack dev", "aerostack listen")
"""Commands of the tour that run until they are interrupted."""


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines it prints; output without a command is of the one before."""
    before, *rest = re.split(r"^\$ ", block, flags=re.MULTILINE)
    if before:
        yield "", before.splitlines()
    for each in rest:
        command, *lines = each.splitlines()
        yield command, lines


class Tour:
    """The terminals of somebody who follows the README, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environment = environment(PATH=f"{Path(COMMAND).parent}:{os.environ['PATH']}")
        self._processes: list[Process] = []
        self._listener: Process | None = None
        self._url = ADDRESS

    async def run(self, command: str, expected: list[str]) -> None:
        """Run a command, and read as many lines as the README shows."""
        if command.startswith("aerostack listen") and self._listener is not None:
            self._listener.send_signal(signal.SIGINT)
            await self._listener.communicate()
        if command:
            arguments = [*shlex.split(command), *(["--port", "0"] if command.startswith("aerostack dev") else [])]
            process = await asyncio.create_subprocess_exec(
                *arguments, stdout=PIPE, stderr=STDOUT, env=self._environment, cwd=self._directory
            )
            self._processes.append(process)
            if command.startswith("aerostack listen"):
                self._listener = process
        else:
            assert self._listener is not None, "the output follows a command"
            process = self._listener
        assert await self._lines(process, len(expected)) == expected
        if not command.startswith(STAYS) and command:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await process.wait() == 0

    async def _lines(self, process: Process, count: int) -> list[str]:
        assert process.stdout is not None, "it is a pipe"
        found: list[str] = []
        while len(found) < count:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = (await process.stdout.readline()).decode().rstrip("\n")
            if ADVICE in line:
                continue
            if address := re.search(r"listening on (http://\S+)", line):
                self._url = address[1]
                self._environment["AEROSTACK_URL"] = self._url
            found.append(line.replace(f" --url {self._url}", "").replace(self._url, ADDRESS))
        return found

    async def end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def test_the_tour_prints_what_the_readme_shows(tmp_path: Path) -> None:
    tour = Tour(tmp_path)
    shown = README[README.index("## Tour") :]
    shown = shown[: shown.index("\n## ")]
    documented = [each for block in blocks("console", shown) for each in commands(block)]
    assert len(documented) > 5
    try:
        for command, expected in documented:
            await tour.run(command, expected)
    finally:
        await tour.end()


@pytest.mark.parametrize("program", blocks("python"))
async def test_a_python_program_prints_what_its_comment_says(program: str, server: "ServerProcess") -> None:
    expected = re.search(r"print\(.*\)  # (.*)", program)
    assert expected is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program.replace(ADDRESS, server.url)),
        stdout=PIPE,
        stderr=STDOUT,
        env=environment(),
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate()
    assert (process.returncode, output.decode().strip()) == (0, expected[1])
