"""The journal on Redis: see backplane.base.Journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from time import time_ns
from typing import Any, Final

from aerostack_realtime.backplane.base import Generation, Generations, JournalListener, JournalUnusable
from aerostack_realtime.backplane.items import SIGNS, AnyItem
from aerostack_realtime.backplane.redis.address import Address
from aerostack_realtime.backplane.redis.appender import Appender, Target
from aerostack_realtime.backplane.redis.connection import ConnectionLost, Reply, ServerError
from aerostack_realtime.backplane.redis.log import BLOCK_MS, Log
from aerostack_realtime.backplane.redis.login import ServerUnreachable
from aerostack_realtime.backplane.redis.reader import LogReader
from aerostack_realtime.backplane.redis.scripts import Keys
from aerostack_realtime.backplane.redis.sentinels import SEEK_SECONDS
from aerostack_realtime.backplane.redis.session import HEADROOM_US, Opener, Session
from aerostack_realtime.backplane.redis.settings import DEFAULTS, RedisSettings
from aerostack_realtime.backplane.redis.step import Step
from aerostack_realtime.backplane.redis.tail import Tail
from aerostack_realtime.backplane.redis.window import LogWindow
from aerostack_realtime.protocol.errors import Overloaded, Unavailable

log = logging.getLogger(__name__)

READ_SECONDS: Final = BLOCK_MS / 1000 + 2
WATCH_SECONDS: Final = 0.5
"""How often a node looks whether the server is still the right one."""
REACH_SECONDS: Final = 2.0
"""Seconds out of reach after which the journal is reported as cut off."""
RETRY_SECONDS: Final = 0.2
"""How soon a server that could not be used is tried again; one that Sentinels name, after SEEK_SECONDS."""


def _wall_clock() -> int:
    return time_ns() // 1000


class RedisJournal:
    """See backplane.base.Journal. `node` is unique for each start of each node."""

    def __init__(
        self,
        address: Address,
        arbiter: Generations,
        node: str,
        *,
        settings: RedisSettings = DEFAULTS,
        now: Callable[[], int] = _wall_clock,
    ) -> None:
        self._node = node
        self._address = address
        self._arbiter = arbiter
        self._settings = settings
        self._keys = Keys.of(settings.name, address.database)
        self._now = now
        self._opener = Opener(address, self._keys, arbiter, node, now)
        self._appender = Appender(node, max_bytes=settings.max_waiting, headroom=HEADROOM_US)
        self._window = LogWindow(settings.max_log, int(settings.kept_seconds * 1e6))
        self._loop = asyncio.get_running_loop()
        self._step = Step(self._loop)
        self._listener: JournalListener | None = None
        self._reader: LogReader | None = None
        self._log: Log | None = None
        self._session: Session | None = None
        self._lost_at = self._loop.time()
        self._newest = 0
        self._newest_at = self._lost_at
        self._cut = False
        self._trouble = ""
        self._starting: asyncio.Timeout | None = None

    @property
    def node(self) -> str:
        return self._node

    @property
    def epoch(self) -> str:
        return str(self._reader.generation if self._reader else 0)

    def epoch_of(self, position: int) -> str:
        reader = self._reader
        if reader is None or position >= reader.start:
            return self.epoch
        number = self._arbiter.number_of(position)
        return self.epoch if number is None else str(number)

    @property
    def last(self) -> int:
        return self._reader.last if self._reader else 0

    @property
    def size_floor(self) -> int:
        return self._window.size_floor()

    @property
    def figures(self) -> Mapping[str, float]:
        generation = self.generation
        lag = 0 if self._reader is None else max(0, self._now() - self._reader.at)
        return {
            "journal_lag_seconds": lag / 1e6,
            "journal_generation": 0.0 if generation is None else float(generation.number),
            "journal_backlog_bytes": float(self._appender.backlog),
            "journal_batches": float(self._appender.batches),
            "journal_batch_bytes": float(self._appender.batch_bytes),
        }

    @property
    def generation(self) -> Generation | None:
        """The generation of the server that this node is connected to; None while it is to none."""
        return self._session.generation if self._session else None

    def understands(self, epoch: str, position: int) -> bool:
        return epoch.isascii() and epoch.isdigit() and self._arbiter.understands(int(epoch), position)

    async def start(self, listener: JournalListener) -> None:
        self._listener = listener
        self._appender.withdraw = listener.refused
        self._reader = LogReader(self._node, listener, self._appender.confirmed, self._appender.unreadable)
        self._log = Log(self._keys, self._reader, self._window)
        try:
            async with asyncio.timeout(self._settings.start_seconds) as self._starting:
                await self._connect(starting=True)
        except TimeoutError:
            raise JournalUnusable(f"The journal at {self._address} is out of reach. {self._trouble}") from None
        finally:
            self._starting = None

    async def run(self) -> None:
        await _until_one_ends(self._serve(), self._watch_reach())

    def append(self, item: AnyItem, *, alone: bool = False) -> None:
        if self._cut:
            raise Unavailable("The journal is out of reach; retry in a moment.")
        if self._window.full and not isinstance(item, SIGNS):
            raise Overloaded("The journal has no room; retry in a moment.")
        self._appender.append(item, alone=alone)

    def defer(self, call: Callable[..., object], *args: Any) -> None:
        self._step.defer(call, *args)

    def trim(self, floor: int) -> None:
        self._appender.floor = max(self._appender.floor, self._window.trim(floor))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(REACH_SECONDS):
                    await self._appender.drain()
            self._appender.detach()
            session.close()
        self._opener.close()

    async def _serve(self) -> None:
        """Read and watch, on one server after the other."""
        while True:
            session = self._session
            if session is None:
                await self._connect()
                continue
            await _until_one_ends(self._follow(session), self._watch(session), _ended(session))
            self._leave(session)

    async def _connect(self, *, starting: bool = False) -> None:
        """Find a session and read all of its log; then append what it lacks. Tries until it succeeds."""
        while True:
            try:
                session = await self._opener.open(self.last)
            except JournalUnusable as error:
                if starting:
                    raise
                self._failed(str(error))
            except ServerUnreachable as error:
                self._failed(str(error))
            else:
                if await self._joined(session):
                    return
            await asyncio.sleep(RETRY_SECONDS if self._address.master is None else SEEK_SECONDS)

    async def _joined(self, session: Session) -> bool:
        try:
            await self._catch_up(session)
        except (ConnectionLost, ServerError) as error:
            session.close()
            self._failed(f"Redis at {session.endpoint} cannot be used now ({error}).")
            return False
        except BaseException:
            session.close()
            raise
        self._session = session
        self._trouble = ""
        log.info("joined the journal at %s, generation %d", session.endpoint, session.generation.number)
        self._appender.mark = session.mark
        channel = self._keys.entries if session.publishes else ""
        number = session.generation.number
        self._appender.attach(Target(session.appends, self._keys, number, channel, session.leave))
        if self._cut:
            self._cut = False
            self._hear().reconnected()
        return True

    async def _catch_up(self, session: Session) -> None:
        """Read what was in the log when this was called."""
        entries = self._entries()
        end = int(await session.tail.call("HGET", self._keys.head, "l") or 0)
        while self.last < end:
            reply = await session.tail.call(*entries.next_read(wait=False), seconds=READ_SECONDS)
            if not reply:
                break
            entries.take(reply)
            if self._starting is not None:  # a long log, or a busy machine, needs more time
                self._starting.reschedule(self._loop.time() + self._settings.start_seconds)
        if self._reader is not None and not self._reader.generation:  # all of it was trimmed
            self._reader.begin(session.generation.number, end)

    async def _follow(self, session: Session) -> None:
        publications = session.appends if session.publishes else None
        try:
            await Tail(self._entries(), session.tail, publications, self._keys.entries, self._step).run()
        except (ConnectionLost, ServerError) as error:
            session.leave(str(error))

    async def _watch(self, session: Session) -> None:
        """Leave a server that is not the cluster's any more, and keep the high-water mark ahead."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            session.appends.send(partial(_check_generation, session), "HGET", self._keys.head, "g")
            if reason := await self._opener.moved(session):
                session.leave(reason)
            await self._opener.raise_mark(session, self.last)
            self._appender.mark = session.mark
            self._make_room()

    def _make_room(self) -> None:
        """Trim what is older than 30 seconds while the server is out of memory. Call it every half second."""
        newest, now = self._entries().newest, self._loop.time()
        if newest != self._newest:
            self._newest, self._newest_at = newest, now
        if not self._appender.out_of_memory:
            return
        floor = self._window.emergency_floor(newest, int((now - self._newest_at) * 1e6))
        if floor > self._appender.floor:
            self._window.trim(floor)
            self._appender.floor = floor

    async def _watch_reach(self) -> None:
        while True:
            await asyncio.sleep(REACH_SECONDS / 8)
            session = self._session
            silence = session.silence if session else self._loop.time() - self._lost_at
            if silence < REACH_SECONDS:
                continue
            if session is not None:
                session.leave(f"no answer for {silence:.1f} seconds")
            if not self._cut:
                self._cut = True
                self._hear().cut_off()

    def _entries(self) -> Log:
        assert self._log is not None, "started"
        return self._log

    def _leave(self, session: Session) -> None:
        log.warning("left Redis at %s: %s", session.endpoint, session.left.result())
        self._lost_at = self._loop.time() - session.silence
        self._session = None
        self._appender.detach()
        session.close()

    def _failed(self, reason: str) -> None:
        if reason != self._trouble:
            log.warning("the journal cannot be joined, trying again: %s", reason)
        self._trouble = reason

    def _hear(self) -> JournalListener:
        assert self._listener is not None, "started"
        return self._listener


def _check_generation(session: Session, number: Reply) -> None:
    """Nobody waits for this answer: a frozen server must not keep the node from asking the Sentinels."""
    if isinstance(number, ServerError | ConnectionLost):
        session.leave(str(number))
    elif number is None or int(number) != session.generation.number:
        session.leave("its data are not those of this generation any more")


async def _ended(session: Session) -> None:
    await asyncio.shield(session.left)


async def _until_one_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends; then cancel the others. Raises what that one raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
