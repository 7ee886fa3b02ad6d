"""A real server in its own process, and the `sqlite3` shell beside it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

SECRET_KEY = "ac_secret_dev"
_READY = re.compile(r"listening on (http://\S+:(\d+))")


class ServerProcess:
    """`aerostack dev` on a database file of its own. After a kill it starts again on the same port."""

    def __init__(self, database: Path, log: Path) -> None:
        self.database = database
        self.log = log
        self.url = ""
        self.secret_key = SECRET_KEY
        self._port = "0"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs"
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return when it listens."""
        command = str(Path(sys.executable).with_name("aerostack"))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEROSTACK_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(command, "dev", "--port", self._port, "--db", str(self.database)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self._process.stdout is not None, "it is a pipe"
        async for line in self._process.stdout:
            if ready := _READY.search(line.decode()):
                self.url, self._port = ready.groups()
                return
        raise AssertionError(f"The server did not start: {self.log.read_text()}")

    async def kill(self) -> None:
        """`kill -9`."""
        await self._end("kill")

    async def terminate(self) -> None:
        """SIGTERM, as an init system does it."""
        await self._end("terminate")

    async def close(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            await self._end("kill")

    async def _end(self, how: str) -> None:
        process, self._process = self._process, None
        assert process is not None, "the server runs"
        if process.returncode is None:
            getattr(process, how)()
        await process.communicate()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "aerostack.db", tmp_path / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], Awaitable[None]]:
    """Run SQL on the server's database file in the `sqlite3` shell: a writer that knows nothing of us."""

    async def run(sql: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *("sqlite3", "-cmd", ".timeout 5000", str(tmp_path / "aerostack.db"), sql),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()

    return run
