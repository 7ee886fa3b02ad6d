"""Everything that takes part in a run: the disk, the server, the network and the processes of the clients."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from tests.faults.backup import Vault
from tests.faults.cable import HERE, Cable
from tests.faults.child import END, END_ROW, PEOPLE, SECRET_KEY, STEADY, TABLE, TOPICS
from tests.faults.disk import Disk
from tests.faults.history import Shown
from tests.faults.hosts import SHARED, Host, share_address
from tests.faults.network import Network
from tests.faults.plan import AFAR, PUBLISHERS, SUBSCRIBERS, WRITERS, DatabaseKind
from tests.faults.postgres import DATABASE, Postgres
from tests.faults.postgres_backup import PostgresVault
from tests.faults.recorded import SHOWN
from tests.faults.server import AGAIN_SECONDS, Server
from tests.faults.transactions import schema
from tests.faults.waiting import report
from tests.redis import RedisServer, WatchedRedis

PATIENCE_SECONDS: Final = 300.0
"""Until something that has to happen counts as never. At load 22, with nice 10, a transaction by psql took 7 s."""
LOG_SHOWN: Final = 2_000
"""Characters of the log of a client that ended unasked."""
PROBE: Final = "fault/probe"
ROOT: Final = Path(__file__).parents[2]


class Stuck(Exception):
    """Nothing happens any more; the message says what was waited for."""


class Actor:
    """A client's process. After a kill its next life takes its place."""

    def __init__(self, stage: "Stage", name: str, rate: float) -> None:
        self.name = name
        self._stage = stage
        self._rate = rate
        self.life = -1
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._killed = False
        self._ready = asyncio.Event()
        self.done = asyncio.Event()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, f"{self.name} runs"
        return self._process

    async def start(self) -> None:
        """Start the next life, and return when it is ready."""
        self.life += 1
        self._killed = False
        self._ready.clear()
        stage = self._stage
        far = self.name in AFAR and stage.cable.laid
        near = ",".join(network.url for network in stage.networks)
        if self.name == STEADY:
            near = ",".join(server.url for server in stage.nodes)
        options = {
            "name": self.name, "life": self.life, "place": stage.place,
            "url": f"http://{HERE}:{stage.server.port}" if far else near,
            "seed": stage.seed, "database": stage.address, "rate": self._rate,
        }  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with (stage.place / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(stage.cable.prefix() if far else ()),
                *program(self.name),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        self._reading = asyncio.create_task(self._read(self._process))
        await stage.within(self._ready.wait(), f"{self.name} to be ready")

    async def kill(self) -> None:
        """`kill -9`."""
        self._killed = True
        self.process.kill()
        await self.process.wait()

    async def close(self) -> None:
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None:
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    def finish(self) -> None:
        """Tell it to finish what it has begun."""
        assert self.process.stdin is not None, "it is a pipe"
        self.process.stdin.write(b"finish\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "it is a pipe"
        async for line in process.stdout:
            if line.startswith(b"+"):
                self._stage.progressed(self.name, int(line))
            elif line == b"ready\n":
                self._ready.set()
            elif line == b"done\n":
                self.done.set()
        if not (self._killed or self.done.is_set()):
            log = (self._stage.place / f"{self.name}.log").read_text(errors="replace")
            self._stage.fail(f"{self.name} ended unasked with {await process.wait()}:\n{log[-LOG_SHOWN:]}")


class Stage:
    """The parts of one run, by name, from start to end."""

    def __init__(
        self,
        place: Path,
        seed: int,
        database: DatabaseKind,
        *,
        source: Path | None,
        rates: tuple[float, float],
        megabytes: int,
        nodes: int = 1,
        sentinel: bool = False,
        namespaces: bool = False,
        plant: str = "",
    ) -> None:
        """`rates`: of each publisher and of all writers, per second. `megabytes`: of the database's disk. Several
        nodes are connected by a Redis, each by a way of its own, or by one that Sentinels watch. With `namespaces`
        each node has a host of its own. `plant`: the bug that the nodes get."""
        self.place = place
        self.seed = seed
        self.database = database
        self.disk = Disk(place / "disk", megabytes)
        self.postgres: Postgres | None = None
        self.vault: Vault | PostgresVault
        if database == "postgres":
            self.postgres = Postgres(self.disk.directory)
            self.address = self.postgres.address
            self.vault = PostgresVault(place, self.postgres)
        else:
            self.address = str(self.disk.directory / "aerostack.db")
            self.vault = Vault(place, Path(self.address))
        if sentinel and namespaces:
            share_address()
        self.watched = WatchedRedis(*([SHARED] if namespaces else [])) if sentinel else None
        self.redis = RedisServer() if nodes > 1 and not sentinel else None
        self.ways = [Network(self.redis.port) for _ in range(nodes)] if self.redis is not None else []
        names = [f"node-{number}" for number in range(nodes)] if nodes > 1 else ["server"]
        self.nodes = [Server(place, self.address, source, name) for name in names]
        for server in self.nodes:
            server.plant = plant
        self.networks = [Network(0) for _ in self.nodes]
        self.hosts = [Host(number) for number in range(nodes)] if namespaces else []
        self.cable = Cable()
        self._handled: Counter[str] = Counter()
        self._more = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        published, written = rates
        self.actors = {name: Actor(self, name, 0.0) for name in SUBSCRIBERS}
        self.actors |= {name: Actor(self, name, published) for name in PUBLISHERS}
        self.actors |= {name: Actor(self, name, written * share(name)) for name in WRITERS}
        if nodes > 1:
            self.actors[STEADY] = Actor(self, STEADY, 0.0)

    async def open(self) -> None:
        """Start everything; subscribers first, so that they miss nothing."""
        if self.redis is not None:
            await asyncio.to_thread(self.redis.start)
        elif self.watched is None:
            await self.cable.lay()
        if self.cable.laid:
            self.server.open_to_others = ("--host", "0.0.0.0", "--unsafe-public")
        for way in self.ways:
            way.bound_to = "0.0.0.0" if self.hosts else way.bound_to
            await way.__aenter__()
        if self.postgres is not None:
            self.postgres.link.bound_to = "0.0.0.0" if self.hosts else self.postgres.link.bound_to
            await self.postgres.link.__aenter__()
        await self._connect_nodes()
        await asyncio.gather(*(server.start() for server in self.nodes))
        self.networks = [Network(server.port, server.host) for server in self.nodes]
        for network in self.networks:
            await network.__aenter__()
        async with self.sdk() as sdk:
            for statement in schema(self.database):
                await sdk.db.query(statement)
        self.vault.prepare()
        for names in (SUBSCRIBERS, (*PUBLISHERS, *WRITERS)):
            await asyncio.gather(*(self.actors[name].start() for name in names))
        if STEADY in self.actors:
            await self.actors[STEADY].start()

    async def _connect_nodes(self) -> None:
        """Give each node its addresses of PostgreSQL and Redis."""
        for number, server in enumerate(self.nodes):
            if self.postgres is not None:
                server.address = self.postgres.address_by_link
            if self.ways:
                server.backplane = f"redis://127.0.0.1:{self.ways[number].port}"
            elif self.watched is not None:
                server.backplane = self.watched.url
        for number, (host, server) in enumerate(zip(self.hosts, self.nodes, strict=False)):
            await host.open()
            assert self.postgres is not None, "a cluster has PostgreSQL"
            server.address = self.postgres.address_by_cable(host.near("postgres"))
            if self.ways:
                server.backplane = f"redis://{host.near('redis')}:{self.ways[number].port}"
            server.host, server.namespace = host.far("clients"), host.namespace
            server.open_to_others = ("--host", "0.0.0.0", "--unsafe-public")

    async def dismiss(self) -> None:
        """End all clients, whatever they are at. Idempotent."""
        for actor in self.actors.values():
            await actor.close()

    async def close(self) -> None:
        """End everything, whatever state it is in."""
        await self.dismiss()
        for server, network in zip(self.nodes, self.networks, strict=True):
            if server.port:
                await server.end(signal.SIGKILL)
                await network.__aexit__()
        for way in self.ways:
            await way.__aexit__()
        for redis in (self.redis, self.watched):
            if redis is not None:
                redis.remove()
        if self.postgres is not None:
            await self.postgres.link.__aexit__()
            self.postgres.close()
        for host in self.hosts:
            await host.close()
        await self.cable.close()
        self.disk.close()

    def sdk(self) -> Aerostack:
        """A client beside the network that faults happen on."""
        return Aerostack([server.url for server in self.nodes], api_key=SECRET_KEY)

    @property
    def server(self) -> Server:
        """The only node, or the first one."""
        return self.nodes[0]

    @property
    def network(self) -> Network:
        """Between the clients and that node."""
        return self.networks[0]

    async def ensure(self) -> None:
        """Start nodes again that ended unasked, which is an anomaly."""
        for server in self.nodes:
            await server.ensure()

    def fail(self, why: str) -> None:
        """Something happened that no fault explains: whatever the run waits for ends with Stuck."""
        if not self._failed.done():
            self._failed.set_exception(Stuck(why))
            self._failed.exception()  # reported by `within`, or never

    async def within(self, awaited: Coroutine[Any, Any, object], what: str) -> None:
        """Wait for it. Raises Stuck, when it takes too long or the run has failed."""
        waiting = asyncio.create_task(awaited)
        await asyncio.wait((waiting, self._failed), timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait((waiting,))
        if self._failed.done():
            self._failed.result()
        if waiting.cancelled():
            raise Stuck(f"waited {PATIENCE_SECONDS:.0f} s for {what}\n{await asyncio.to_thread(self._report)}")
        waiting.result()

    def _report(self) -> str:
        pids = [each.process.pid for each in self.actors.values() if each.life >= 0]
        if self.postgres is None:
            return report(pids, None)
        return report([*pids, self.postgres.server.pid], self.postgres.server.socket_dsn(DATABASE))

    # --- progress ----------------------------------------------------------------------------------------

    def progressed(self, name: str, count: int) -> None:
        if name in SUBSCRIBERS:
            self._handled[name] += count
            self._more.set()

    async def progress(self, count: int) -> None:
        """Wait until subscribers have handled `count` more events. Raises Stuck."""
        until = self._handled.total() + count
        while self._handled.total() < until:
            self._more.clear()
            await self.within(self._more.wait(), "an event to be handled")
            await self.ensure()

    async def settle(self) -> None:
        """Let publishers and writers finish, mark the end, and wait until every subscriber has seen it."""
        for name in (*PUBLISHERS, *WRITERS):
            self.actors[name].finish()
        for name in (*PUBLISHERS, *WRITERS):
            await self.within(self.actors[name].done.wait(), f"{name} to finish")
        async with self.sdk() as sdk:
            await self.within(self._gathered(sdk), "the list of members to be complete")
            await self.within(self._mark_end(sdk), "the end to be marked")
        for name in SUBSCRIBERS:
            await self._end_seen(name)

    async def _end_seen(self, name: str) -> None:
        """Wait for a subscriber; one that still handles events, because the machine is busy, gets more time."""
        while True:
            before = self._handled[name]
            try:
                await self.within(self.actors[name].done.wait(), f"{name} to see the end")
            except Stuck:
                if self._failed.done() or self._handled[name] == before:
                    raise
            else:
                return

    async def _mark_end(self, sdk: Aerostack) -> None:
        """The last message of each channel and the last row, also while nodes recover from the last fault."""
        for topic in (*TOPICS.values(), PEOPLE):
            await _insist(partial(sdk.realtime.channel(topic).publish, END, persist=True))
        row = "INSERT INTO items(id, n, w, grp) VALUES(?, -1, 'end', 5) ON CONFLICT DO NOTHING"
        await _insist(partial(sdk.db.query, row, [END_ROW]))

    def present(self) -> dict[str, object]:
        """The members: the subscribers that live, which life of each it is, and the one that is always there."""
        return {name: actor.life for name, actor in self.actors.items() if name in (*SHOWN, STEADY)}

    async def _gathered(self, sdk: Aerostack) -> None:
        """Wait until the server's members are the present ones; each join and leave is an event."""
        channel = sdk.realtime.channel(PEOPLE)
        async for _ in channel:
            if {each.user_id: each.state["life"] for each in await channel.presence()} == self.present():
                return

    async def rows(self, shown: Shown | None) -> dict[str, object]:
        """What the table holds, by row."""
        where = f" WHERE grp >= {shown.low} AND grp < {shown.high}" if shown else ""
        async with self.sdk() as sdk:
            return {str(row["id"]): row for row in await sdk.db.query(f"SELECT * FROM {TABLE}{where}")}

    async def cursor(self) -> str:
        """Where the logs of custom channels continue."""
        async with self.sdk() as sdk:
            cursor = (await sdk.realtime.channel(PROBE).publish("probe")).cursor
        assert cursor is not None, "this server tells"
        return cursor

    async def epoch(self) -> str:
        """The epoch that the server's logs are in."""
        async with self.sdk() as sdk:
            cursor = (await sdk.db.query("SELECT 1")).cursor
        assert cursor is not None, "this server tells"
        return cursor.partition(".")[0]


async def _insist(call: Callable[[], Awaitable[object]]) -> None:
    """Make a call, again after each retryable error. Raises AerostackError."""
    while True:
        try:
            await call()
        except AerostackError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


def program(name: str) -> Sequence[str]:
    """The command of a part."""
    modules = {"sub": "subscriber", "pub": "publisher", "writer": "writer", "live": "live", STEADY: STEADY}
    module = modules[name.partition("-")[0]]
    if name.endswith("-node"):
        return ("node", str(ROOT / f"tests/faults/{module}.mjs"))
    return (sys.executable, "-m", f"tests.faults.{module}")


def share(writer: str) -> float:
    """How much of the row changes a writer makes."""
    return {"writer-driver": 0.7, "writer-sdk": 0.2, "writer-shell": 0.1}[writer]
