"""A real server in its own process, the `sqlite3` shell beside it, and clients that speak the wire by hand."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.flow.calls import Http
from tests.flow.wire import Dial, Wire

SECRET_KEY = "ac_secret_dev"
SERVE_KEY = "ac_secret_for_the_flow_tests"
OPEN_RULE = """
[[channels]]
topic = "**"
subscribe = "anyone"
publish = "anyone"
presence = "anyone"
history = "anyone"
"""
_READY = re.compile(r"listening on (https?://\S+:(\d+))")


class ServerProcess:
    """`aerostack dev` on a database file of its own. After a kill it starts again on the same port.

    With `config`, an aerostack.toml, it is `aerostack serve`.
    """

    def __init__(self, database: Path, log: Path, config: Path | None = None) -> None:
        self.database = database
        self.log = log
        self.config = config
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
        arguments = ["dev", "--port", self._port, "--db", str(self.database)]
        if self.config is not None:
            arguments = ["serve", "--config", str(self.config)]
            environment |= {"AEROSTACK_PORT": self._port, "AEROSTACK_DATABASE": str(self.database)}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(command, *arguments),
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

    async def terminate(self) -> int:
        """SIGTERM, as an init system does it. Returns the exit code."""
        return await self._end("terminate")

    async def interrupt(self) -> int:
        """SIGINT, as ctrl-c does it. Returns the exit code."""
        return await self._end("send_signal", signal.SIGINT)

    async def close(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            await self._end("kill")

    async def _end(self, how: str, *arguments: int) -> int:
        process, self._process = self._process, None
        assert process is not None, "the server runs"
        if process.returncode is None:
            getattr(process, how)(*arguments)
        await process.communicate()
        return await process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "aerostack.db", tmp_path / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for the tests of a module, each of which takes topics and tables of its own."""
    place = tmp_path_factory.mktemp("node")
    process = ServerProcess(place / "aerostack.db", place / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[ServerProcess]]]:
    """Run `aerostack serve` with these settings: `await serve('anonymous = true')`.

    Without rules of its own everyone that gets in may do everything.
    """
    started: list[ServerProcess] = []

    async def run(settings: str) -> ServerProcess:
        config = tmp_path / "aerostack.toml"
        rules = "" if "[[channels]]" in settings else OPEN_RULE
        config.write_text(f'secret_keys = ["{SERVE_KEY}"]\n{settings}\n{rules}')
        process = ServerProcess(tmp_path / "aerostack.db", tmp_path / "server.log", config)
        process.secret_key = SERVE_KEY
        started.append(process)
        await process.start()
        return process

    yield run
    for process in started:
        await process.close()


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Connect to a server, as a user if one is named: `await dial(node, "ann")`."""
    opened: list[Wire] = []

    async def connect(server: ServerProcess, user: str | None = None, **how: Any) -> Wire:
        query = {**({"userId": user} if user else {}), **how.pop("query", {})}
        wire = await Wire.open(server.url, query=query, **how)
        opened.append(wire)
        wire.connected = await wire.hear("connected")
        return wire

    yield connect
    for wire in opened:
        wire.drop()


@pytest.fixture
async def calls() -> AsyncIterator[Callable[[ServerProcess], Http]]:
    """HTTP calls to a server: `calls(node)`."""
    async with aiohttp.ClientSession() as session:
        yield lambda server: Http(session, server)


@pytest.fixture
async def http(node: ServerProcess, calls: Callable[[ServerProcess], Http]) -> Http:
    """HTTP calls to the module's server."""
    return calls(node)


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
