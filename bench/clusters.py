"""Two nodes of us and of the peers on one Redis: how they are started, for bench.cluster and bench.cluster_faults.

Both nodes run on the server's core; Redis, PostgreSQL (ours only) and the load generator on the other.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster_floor import redis_on_load_core
from bench.contenders import CENTRIFUGO, SOCKETIO, await_port
from bench.contenders import OURS as SINGLE
from bench.databases import POSTGRES
from bench.servers import Plan, Running, running, scratch
from tests.redis import RedisServer

NODES = 2


@dataclass(frozen=True)
class Engine:
    """What the nodes of one cluster share."""

    redis: str
    """A URL."""
    database: str = ""
    """A URI of PostgreSQL, where the contender uses one."""


@dataclass(frozen=True)
class Cluster:
    """`prepare` installs what is missing and gives the version; `plan` says how to start one node."""

    name: str
    dialect: str
    prepare: Callable[[], str]
    plan: Callable[[Path, Engine], Plan]
    database: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """Two nodes, while they run. Raises NotStarted with the reason."""
        with self.deployed() as (server, _):
            yield server

    @contextlib.contextmanager
    def deployed(self) -> Iterator[tuple[Running, RedisServer]]:
        """The same, with their Redis."""
        self.prepare()
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(redis_on_load_core())
            database = stack.enter_context(POSTGRES.new()) if self.database else ""
            nodes = [
                stack.enter_context(_node(self.plan, Engine(redis.url, database), stack.enter_context(scratch())))
                for _ in range(NODES)
            ]
            server = replace(nodes[0], nodes=tuple(nodes[1:]), engine=redis.pid, database=database)
            yield server, redis


@contextlib.contextmanager
def _node(plan: Callable[[Path, Engine], Plan], engine: Engine, directory: Path) -> Iterator[Running]:
    chosen = plan(directory, engine)
    with running(chosen, directory) as server:
        if chosen.port is not None:
            await_port(chosen.port)
        yield server


def _aerostack(directory: Path, engine: Engine) -> Plan:
    program, *_ = SINGLE.plan(directory).command
    command = [program, "dev", "--port", "0", "--db", engine.database, "--backplane", engine.redis]
    return Plan(command, cwd=directory)


def _centrifugo(history: bool, presence: bool = False) -> Callable[[Path, Engine], Plan]:
    def plan(directory: Path, engine: Engine) -> Plan:
        single = CENTRIFUGO.plan(directory)
        path = directory / "config.json"
        settings = json.loads(path.read_text())
        settings["engine"] = {"type": "redis", "redis": {"address": engine.redis}}
        if history:
            channels = {"history_size": 300, "history_ttl": "300s", "force_recovery": True, "presence": presence}
            settings["channel"] = {"without_namespace": channels}
        path.write_text(json.dumps(settings))
        return single

    return plan


def _socketio(adapter: str) -> Callable[[Path, Engine], Plan]:
    def plan(directory: Path, engine: Engine) -> Plan:
        single = SOCKETIO.plan(directory)
        return replace(single, environment={"ADAPTER": adapter, "REDIS_URL": engine.redis})

    return plan


OURS = Cluster("Aerostack Realtime", "aerostack", SINGLE.prepare, _aerostack, database=True)
SOCKETIO_STREAMS = Cluster(
    "Socket.IO, redis-streams adapter", "socket.io", SOCKETIO.prepare, _socketio("redis-streams")
)
CENTRIFUGO_WITH_PRESENCE = Cluster(
    "Centrifugo, history, recovery, presence", "centrifugo", CENTRIFUGO.prepare, _centrifugo(True, presence=True)
)
"""Not in the measurements, because presence costs Redis more with each subscriber."""

OURS_PERSISTED = Cluster(
    "Aerostack Realtime, persisted in PostgreSQL",
    "aerostack-persisted",
    SINGLE.prepare,
    _aerostack,
    database=True,
)
"""Each message is delivered after its commit."""

CLUSTERS = (
    OURS,
    OURS_PERSISTED,
    Cluster("Centrifugo, history and recovery", "centrifugo", CENTRIFUGO.prepare, _centrifugo(True)),
    Cluster("Centrifugo, at most once", "centrifugo", CENTRIFUGO.prepare, _centrifugo(False)),
    SOCKETIO_STREAMS,
    Cluster("Socket.IO, redis adapter", "socket.io", SOCKETIO.prepare, _socketio("redis")),
)
