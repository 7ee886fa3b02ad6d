"""Sessions without sockets: a hub on an SQLite file, and connections whose bytes are read by the test."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from aerostack_realtime.access.identity import Authenticator, Identity, sign
from aerostack_realtime.access.keys import Keys
from aerostack_realtime.access.rules import ChannelRule, Rules, TableRule
from aerostack_realtime.access.tokens import Tokens, secret_key
from aerostack_realtime.backplane.memory import MemoryJournal
from aerostack_realtime.channels.custom.log import Bounds
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.parts import HubOptions
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.database.sqlite.database import SqliteDatabase
from aerostack_realtime.gateway.limits.connections import ConnectionCounter
from aerostack_realtime.gateway.limits.settings import UNLIMITED, Limits
from aerostack_realtime.gateway.websocket.repeated import RepeatedPublish
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.gateway.websocket.session import Session
from tests.unit.channels.peers import unframed

SECRET = "a-secret-of-at-least-thirty-two-bytes"
OPEN = (ChannelRule("**", "anyone", "anyone", "anyone", "anyone"),)


class Clock:
    """Seconds that pass when the test advances them."""

    def __init__(self) -> None:
        self.seconds = 1_763_912_345.0

    def __call__(self) -> float:
        return self.seconds


class Line:
    """The transport of a session. `stalled` is how many bytes its peer has not taken; a write sets `wrote`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.wrote = asyncio.Event()
        self.stalled = 0
        self.hung_up = False
        self.repeated: RepeatedPublish | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.wrote.set()

    @property
    def write_shared(self) -> None:
        """Nothing is compressed."""

    @property
    def buffered(self) -> Callable[[], int]:
        return lambda: self.stalled

    @property
    def is_stalled(self) -> bool:
        return self.stalled > 0

    def hang_up(self) -> None:
        self.hung_up = True


class Connection:
    """A session and its line."""

    def __init__(self, stage: "Stage", session: Session, line: Line) -> None:
        self.session = session
        self.line = line
        self._stage = stage

    def send(self, **command: Any) -> Awaitable[None] | None:
        """Let the session receive a command."""
        return self.session.receive(msgspec.json.encode(command))

    async def ask(self, **command: Any) -> list[dict[str, Any]]:
        """Send a command, wait until it is handled, and return what was written."""
        pending = self.send(**command)
        if pending is not None:
            await pending
        return self.take()

    async def written(self) -> None:
        """Wait until there is something to `take`."""
        while not self.line.written:
            self.line.wrote.clear()
            await self.line.wrote.wait()

    def take(self) -> list[dict[str, Any]]:
        """The messages written since the last call; control frames are left out."""
        self._stage.hub.flush()
        data = b"".join(each for each in self.line.written if each[:1] == b"\x81")
        self.line.written.clear()
        return unframed(data)

    def types(self) -> list[str]:
        return [each["type"] for each in self.take()]


class Stage:
    """One node without a network."""

    def __init__(
        self,
        database: SqliteDatabase,
        changes: ChangeFanOut,
        rules: Rules,
        limits: Limits,
        clock: Clock,
        log_count: int,
    ) -> None:
        self.database = database
        self.clock = clock
        self.limits = limits
        journal = MemoryJournal(
            store=database.messages,
            now=lambda: time.time_ns() // 1000,
            epochs=database,
        )
        self.hub = Hub(
            HubOptions(
                journal=journal,
                changes=database.changes,
                store=database.messages,
                defer=asyncio.get_running_loop().call_soon,
                later=asyncio.get_running_loop().call_later,
                buffer_limit=limits.buffer_bytes,
                presence_limit=limits.presence_members,
                logs=Logs([("*", Bounds(log_count, 1 << 20, 60_000_000))], 1 << 24),
            )
        )
        self.memberships = Memberships(rules.memberships, database)
        changes.listeners = (self.memberships, self.hub)
        self.guard = Guard(rules, self.memberships, clock)
        self.authenticator = Authenticator(
            secret_keys=Keys(["a-secret-key-of-tests"]),
            publishable_keys=Keys([]),
            tokens=Tokens(lambda: [secret_key(SECRET)], clock),
            now=clock,
            anonymous=True,
        )
        self.services = Services(self.hub, database, self.authenticator, self.guard, limits, clock, "1")
        self._connections = ConnectionCounter(limits)

    def token(self, user: str = "ann", lives: float = 3600, **claims: Any) -> str:
        return sign(SECRET, {"sub": user, "exp": self.clock.seconds + lives, **claims})

    def connect(self, user: str | None = None, *, unauthenticated: bool = False, **claims: Any) -> Connection:
        """A connection of a user, of an anonymous client, or of one that has not authenticated."""
        identity: Identity | None = Identity("anonymous")
        if user is not None:
            identity = self.authenticator.identify(None, self.token(user, **claims))
        return self.join(None if unauthenticated else identity, user)

    def join(self, identity: Identity | None, user: str | None = None, project: str = "default") -> Connection:
        """A connection with this identity, to a project."""
        line = Line()
        session = Session(
            services=self.services,
            transport=line,
            identity=identity,
            project=project,
            slot=self._connections.enter("10.0.0.1", user, unauthenticated=identity is None),
        )
        return Connection(self, session, line)

    async def rows(self, *statements: str) -> None:
        for each in statements:
            await self.database.query(each)
        self.database.changes.wake()


@asynccontextmanager
async def stage(
    path: Path,
    *,
    channels: tuple[ChannelRule, ...] = OPEN,
    tables: tuple[TableRule, ...] = (TableRule("*", "anyone"),),
    limits: Limits = UNLIMITED,
    log_count: int = 1000,
    sql: tuple[str, ...] = (),
) -> AsyncIterator[Stage]:
    """A stage with these rules and limits, on a database in which `sql` was run."""
    changes = ChangeFanOut()
    database = await SqliteDatabase.open(path / "stage.db", changes, retention=[])
    try:
        made = Stage(database, changes, Rules(channels, tables), limits, Clock(), log_count)
        await made.hub.start()
        await made.rows(*sql)
        await made.memberships.load()
        yield made
    finally:
        await database.close()
