"""From an address to a server that holds the newest generation of the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aerostack_realtime.backplane.base import Generation, Generations, JournalUnusable
from aerostack_realtime.backplane.redis import scripts
from aerostack_realtime.backplane.redis.address import Address, Endpoint
from aerostack_realtime.backplane.redis.connection import Connection, ConnectionLost, ServerError
from aerostack_realtime.backplane.redis.login import Identity, ServerUnreachable, log_in_twice, may_publish
from aerostack_realtime.backplane.redis.openings import Openings
from aerostack_realtime.backplane.redis.sentinels import Locator, Master
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

log = logging.getLogger(__name__)

RESERVE_US: Final = 30_000_000
"""How far ahead of the clock the high-water mark is kept."""
HEADROOM_US: Final = RESERVE_US // 2
"""Positions below the mark that only counting reaches: this number of items may come while the database that
keeps the mark is out of reach (15 million: 25 minutes at 10,000 items per second)."""
ARBITER_SECONDS: Final = 2.0
"""A database that takes longer to answer is out of reach."""
OPENING_SECONDS: Final = 0.2
"""How long another node may take between winning a generation and opening it in Redis."""

T = TypeVar("T")


class Session:
    """Two connections to one server process, in one generation; with `publishes`, `appends` may use channels."""

    def __init__(
        self,
        endpoint: Endpoint,
        generation: Generation,
        mark: int,
        appends: Connection,
        tail: Connection,
        *,
        publishes: bool,
    ) -> None:
        self.endpoint = endpoint
        self.generation = generation
        self.mark = mark
        self.appends = appends
        self.tail = tail
        self.publishes = publishes
        self.left: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolved with the reason once the server cannot be used any more."""
        for connection in (appends, tail):
            connection.lost.add_done_callback(lambda lost: self.leave(str(lost.result())))

    @property
    def silence(self) -> float:
        """For how many seconds the server has owed an answer on either connection."""
        return max(self.appends.silence, self.tail.silence)

    def leave(self, reason: str) -> None:
        if not self.left.done():
            self.left.set_result(reason)

    def close(self) -> None:
        self.appends.abort()
        self.tail.abort()


class Opener:
    """Opens sessions for one node. `now` is the wall clock in µs."""

    def __init__(
        self, address: Address, keys: scripts.Keys, arbiter: Generations, node: str, now: Callable[[], int]
    ) -> None:
        self._address = address
        self._keys = keys
        self._arbiter = arbiter
        self._name = f"aerostack:{node}"
        self._now = now
        self._locator = Locator(address)
        self._known: Generation | None = None
        self._marked = 0
        self._openings = Openings()

    async def open(self, last: int) -> Session:
        """A session; `last` is the newest position that this node knows.

        Raises ServerUnreachable when it is worth another try, else JournalUnusable.
        """
        master = await self._locator.locate()
        endpoint = master.endpoint
        appends, tail, identity = await self._log_in(master)
        opened = [appends, tail]
        try:
            generation, mark = await self._generation(appends, identity, master, last)
            await appends.call("SCRIPT", "LOAD", scripts.APPEND.source)
            publishes = await may_publish(appends, self._keys.entries)
            return Session(endpoint, generation, mark, appends, tail, publishes=publishes)
        except (ConnectionLost, ServerError) as error:
            self._abort(opened)
            raise _meaning(error, endpoint) from None
        except BaseException:
            self._abort(opened)
            raise

    async def moved(self, session: Session) -> str | None:
        """Why this node must leave the server of `session`; None while it is the right one, as far as is known."""
        try:
            newest = await self._in_time(self._arbiter.current())
        except Unavailable:
            pass
        else:
            if newest is None or newest.number != session.generation.number:
                return "another generation of the journal has begun"
        try:
            endpoint = (await self._locator.locate()).endpoint
        except (ServerUnreachable, JournalUnusable):
            return None
        return None if endpoint == session.endpoint else f"the Sentinels name {endpoint} as the master now"

    async def raise_mark(self, session: Session, last: int) -> None:
        """Keep the high-water mark ahead of `last` and of the clock, if the database is in reach."""
        wanted = self._mark(last)
        if wanted - session.mark < RESERVE_US // 4:
            return
        try:
            if await self._in_time(self._arbiter.raise_high_water(session.generation, wanted)):
                session.mark = self._marked = wanted
            else:
                session.leave("another generation of the journal has begun")
        except Unavailable as error:
            log.warning("the high-water mark of the journal cannot be stored, trying again: %s", error)

    def close(self) -> None:
        self._locator.close()

    async def _log_in(self, master: Master) -> tuple[Connection, Connection, Identity]:
        """As log_in_twice, until the Sentinels name another master: a host that is gone takes long to fail."""
        login = asyncio.create_task(log_in_twice(self._address, master.endpoint, name=self._name))
        moved = asyncio.create_task(self._locator.until_moved(master))
        try:
            await asyncio.wait((login, moved), return_when=asyncio.FIRST_COMPLETED)
            if not login.done():
                raise ServerUnreachable(f"The Sentinels do not name {master.endpoint} as the master any more.")
            return await login
        finally:
            for task in (login, moved):
                task.cancel()
            await asyncio.wait((login, moved))

    async def _generation(
        self, connection: Connection, identity: Identity, master: Master, last: int
    ) -> tuple[Generation, int]:
        endpoint = master.endpoint
        number, position = await self._head(connection, endpoint)
        last = max(last, position)
        try:
            newest = await self._in_time(self._arbiter.current())
        except Unavailable as error:
            known = self._known
            if known is not None and known.server == identity.run_id and number == known.number:
                return known, self._marked  # nothing has changed since this node was here
            raise ServerUnreachable(
                f"Which Redis is right cannot be decided without the database: {error}"
            ) from None
        if newest is not None and newest.server == identity.run_id and newest != self._known:
            number = await self._awaited(connection, endpoint, newest.number, number)
        if newest is None or newest.server != identity.run_id or number is None or number > newest.number:
            newest = await self._begin(newest, identity, master, last)
        if number != newest.number:
            last = max(last, await self._open(connection, newest, identity, endpoint))
        self._known = newest
        # A generation begins above all marks, so up to 30 seconds ahead of the clock, and further after several.
        mark = self._mark(max(last, newest.start))
        try:
            raised = await self._in_time(self._arbiter.raise_high_water(newest, mark))
        except Unavailable as error:
            raise ServerUnreachable(f"The high-water mark of the journal cannot be stored: {error}") from None
        if not raised:
            raise ServerUnreachable("Another generation of the journal began meanwhile.")
        self._marked = mark
        self._openings.joined(identity.run_id, master.epoch)
        return newest, mark

    async def _head(self, connection: Connection, endpoint: Endpoint) -> tuple[int | None, int]:
        """The generation and the last position that the server holds; None when it holds no journal."""
        number, last, cluster = await connection.call("HMGET", self._keys.head, "g", "l", "i")
        if cluster is not None and cluster.decode() != self._arbiter.cluster:
            raise JournalUnusable(self._foreign(endpoint))
        return (int(number), int(last or 0)) if number is not None else (None, 0)

    async def _awaited(
        self, connection: Connection, endpoint: Endpoint, newest: int, number: int | None
    ) -> int | None:
        """The generation in Redis, once the node that won `newest` has had time to open it there."""
        loop = asyncio.get_running_loop()
        end = loop.time() + OPENING_SECONDS
        while (number is None or number < newest) and loop.time() < end:
            await asyncio.sleep(OPENING_SECONDS / 10)
            number, _ = await self._head(connection, endpoint)
        return number

    async def _begin(self, seen: Generation | None, identity: Identity, master: Master, last: int) -> Generation:
        self._check_pause(seen, identity, master)
        try:
            begun = await self._in_time(self._arbiter.open(seen, identity.run_id, max(last + 1, self._now())))
        except Unavailable as error:
            raise ServerUnreachable(
                f"A generation of the journal cannot begin without the database: {error}"
            ) from None
        if begun.server != identity.run_id:
            raise ServerUnreachable("Another node has just begun the journal on another Redis.")
        self._openings.begun(identity.run_id, master.epoch, asyncio.get_running_loop().time())
        log.warning("generation %d of the journal begins", begun.number)
        return begun

    def _check_pause(self, seen: Generation | None, identity: Identity, master: Master) -> None:
        """Raises ServerUnreachable when it is too early to begin another generation there."""
        now = asyncio.get_running_loop().time()
        deleted = seen is not None and seen.server == identity.run_id
        if not self._openings.pause(identity.run_id, master.epoch, now, deleted=deleted):
            return
        seconds = self._openings.length(now, deleted=deleted)
        if deleted:
            raise ServerUnreachable(
                f"The journal at {master.endpoint} was deleted several times: find what runs FLUSHALL or DEL "
                f"there, or set maxmemory-policy noeviction. The next generation begins after {seconds:g} seconds."
            )
        raise ServerUnreachable(
            "Nodes disagree about which Redis is the master: another node has begun the journal elsewhere than at "
            f"{master.endpoint}. Check that all name the same one, and the same Sentinels. This node begins it "
            f"there again after {seconds:g} seconds."
        )

    async def _open(
        self, connection: Connection, generation: Generation, identity: Identity, endpoint: Endpoint
    ) -> int:
        """Where it begins in the log; 0 where another node has just opened it."""
        try:
            position = await connection.call(
                "EVAL",
                scripts.OPEN.source,
                "2",
                self._keys.log,
                self._keys.head,
                str(generation.number),
                str(generation.start),
                identity.run_id,
                self._arbiter.cluster,
            )
        except ServerError as error:
            if error.code == scripts.CLUSTER:
                raise JournalUnusable(self._foreign(endpoint)) from None
            if error.code == scripts.GENERATION:
                raise ServerUnreachable("Another generation of the journal began meanwhile.") from None
            raise
        return int(position)

    def _mark(self, last: int) -> int:
        return max(self._now() + RESERVE_US, last + HEADROOM_US)

    def _foreign(self, endpoint: Endpoint) -> str:
        return (
            f"Redis at {endpoint} holds the journal {self._keys.log} of another cluster: give this cluster a "
            "backplane_name of its own, or, if the other one is gone for good, run "
            f"DEL {self._keys.log} {self._keys.head} there."
        )

    @staticmethod
    async def _in_time(answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ARBITER_SECONDS):
                return await answer
        except TimeoutError:
            raise Unavailable("The database does not answer.") from None
        except AerostackError as error:
            raise error if isinstance(error, Unavailable) else Unavailable(error.message) from None

    @staticmethod
    def _abort(connections: list[Connection]) -> None:
        for connection in connections:
            connection.abort()


def _meaning(error: ConnectionLost | ServerError, endpoint: Endpoint) -> Exception:
    words = str(error)[:200]
    if isinstance(error, ServerError) and ("NOPERM" in words or "No permissions" in words or "ACL" in words):
        return JournalUnusable(
            f"The user of the address lacks rights at {endpoint} ({words}): `aerostack check` prints the ACL "
            "SETUSER that grants them."
        )
    return ServerUnreachable(f"Redis at {endpoint} cannot be used now ({words}).")
