"""A real server in its own process, a database's own shell beside it, and clients that speak the wire by hand.

Every test that has a server runs with a SQLite file and with a PostgreSQL database. On a test or a module
`pytest.mark.database("sqlite")` says that its promise is SQLite's own or cannot depend on the database.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests import preloaded
from tests.flow.calls import Http
from tests.flow.cluster import Cluster
from tests.flow.databases import Database, Databases, PostgresDatabases, SqliteFiles
from tests.flow.wire import Dial, Wire
from tests.ports import Port
from tests.redis import RedisServer

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
KINDS = ("sqlite", "postgres")
_READY = re.compile(r"listening on (https?://\S+:(\d+))")


class ServerProcess:
    """`aerostack dev` on a database of its own. After a kill it starts again on the same port.

    With `config`, an aerostack.toml, it is `aerostack serve`. With `backplane` it is a node of a cluster. Its
    package is that in the directory `source`; None for the installed one.
    """

    def __init__(
        self,
        database: Database,
        log: Path,
        config: Path | None = None,
        backplane: str | None = None,
        source: Path | None = None,
    ) -> None:
        self.database = database
        self.source = source
        self.backplane = backplane
        self.log = log
        self.config = config
        self.url = ""
        self.secret_key = SECRET_KEY
        self._port = Port()
        self._process: preloaded.Process | asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs"
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return when it listens."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEROSTACK_")}
        port = str(self._port.number)
        arguments = ["dev", "--port", port, "--db", self.database.address]
        if self.config is not None:
            arguments = ["serve", "--config", str(self.config)]
            environment |= {"AEROSTACK_PORT": port, "AEROSTACK_DATABASE": self.database.address}
        if self.backplane is not None:
            environment["AEROSTACK_BACKPLANE"] = self.backplane
        with self.log.open("ab") as log:
            if self.source is None:
                self._process = await preloaded.start(*arguments, env=environment, stderr=log)
            else:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", "from aerostack_realtime.cli import main; main()", *arguments),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=environment | {"PYTHONPATH": str(self.source)},
                )
        assert self._process.stdout is not None, "it is a pipe"
        async for line in self._process.stdout:
            if ready := _READY.search(line.decode()):
                self.url = ready[1]
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
        self._port.release()

    async def _end(self, how: str, *arguments: int) -> int:
        process, self._process = self._process, None
        assert process is not None, "the server runs"
        if process.returncode is None:
            getattr(process, how)(*arguments)
        await process.communicate()
        return await process.wait()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "databases" in metafunc.fixturenames:
        own = metafunc.definition.get_closest_marker("database")
        metafunc.parametrize("databases", KINDS if own is None else own.args, indirect=True, scope="module")


_numbers = count(1)


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Makes the databases of a module's tests."""
    made: Databases = SqliteFiles()
    if request.param == "postgres":
        made = PostgresDatabases(request.getfixturevalue("postgres_server"), f"flow{next(_numbers)}")
    yield made
    made.close()


@pytest.fixture
def database(databases: Databases, tmp_path: Path) -> Database:
    """A new database, with no server on it yet."""
    return databases.new(tmp_path)


@pytest.fixture
async def server(database: Database, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(database, tmp_path / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One server for the tests of a module, each of which takes topics and tables of its own."""
    place = tmp_path_factory.mktemp("node")
    process = ServerProcess(databases.new(place), place / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest.fixture
async def serve(database: Database, tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[ServerProcess]]]:
    """Run `aerostack serve` with these settings: `await serve('anonymous = true')`.

    Without rules of its own everyone that gets in may do everything.
    """
    started: list[ServerProcess] = []

    async def run(settings: str) -> ServerProcess:
        config = tmp_path / "aerostack.toml"
        rules = "" if "[[channels]]" in settings else OPEN_RULE
        config.write_text(f'secret_keys = ["{SERVE_KEY}"]\n{settings}\n{rules}')
        process = ServerProcess(database, tmp_path / "server.log", config)
        process.secret_key = SERVE_KEY
        started.append(process)
        await process.start()
        return process

    yield run
    for process in started:
        await process.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer.started()
    yield server
    server.remove()


@pytest.fixture
async def cluster(database: Database, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster without nodes: `a, b = await cluster.start(2)`."""
    redis.command("FLUSHALL")

    def node(log: Path, backplane: str, source: Path | None) -> ServerProcess:
        return ServerProcess(database, log, backplane=backplane, source=source)

    made = Cluster(database, redis, tmp_path, node)
    yield made
    await made.close()


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
def shell(database: Database) -> Callable[[str], Awaitable[str]]:
    """Run SQL beside the server, in the `sqlite3` shell or in `psql`: a writer that knows nothing of us."""
    return database.write
