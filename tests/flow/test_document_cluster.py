"""Editors in JavaScript on the nodes of a cluster: one document, and one set of cursors."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tests.flow.cluster import Cluster
from tests.flow.wire import PATIENCE_SECONDS

pytestmark = pytest.mark.database("postgres")

PROGRAM = Path(__file__).with_name("editor.mjs")
TOPIC = "docs/cluster"


class Editor:
    """A process with the provider of the TypeScript client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, name: str, *urls: str) -> Self:
        return cls(
            await asyncio.create_subprocess_exec(
                *("node", str(PROGRAM), TOPIC, name, *urls),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    def write(self, text: str) -> None:
        """Append to the document."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(json.dumps(text).encode() + b"\n")

    async def until(self, **wanted: Any) -> None:
        """Wait for a state with these values."""
        assert self._process.stdout is not None, "it is a pipe"
        state: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS * 2):
                while not wanted.items() <= state.items():
                    state = json.loads(await self._process.stdout.readline())
        except TimeoutError:
            raise AssertionError(f"the editor is at {state}, not at {wanted}") from None

    async def close(self) -> None:
        self._process.kill()
        await self._process.wait()


@pytest.fixture
async def edit() -> AsyncIterator[Callable[..., Awaitable[Editor]]]:
    """Start an editor: `await edit("Ann", url)`."""
    editors: list[Editor] = []

    async def start(name: str, *urls: str) -> Editor:
        editors.append(await Editor.start(name, *urls))
        return editors[-1]

    yield start
    for editor in editors:
        await editor.close()


async def test_editors_on_different_nodes_keep_one_document_after_a_kill(
    cluster: Cluster, edit: Callable[..., Awaitable[Editor]]
) -> None:
    a, b, c = await cluster.start(3)
    ann, bob = await edit("Ann", a.url, b.url), await edit("Bob", b.url)
    await ann.until(synced=True, names=["Ann", "Bob"])
    await bob.until(synced=True, names=["Ann", "Bob"])
    ann.write("Hello")
    await bob.until(text="Hello")
    bob.write(" world")
    await ann.until(text="Hello world", saved=True)
    await a.kill()
    ann.write(", again")
    await bob.until(text="Hello world, again")
    await ann.until(text="Hello world, again", saved=True, synced=True)
    bob.write(".")
    await ann.until(text="Hello world, again.")
    late = await edit("Eve", c.url)
    await late.until(text="Hello world, again.", synced=True)
    await ann.until(names=["Ann", "Bob", "Eve"])
