"""Which server is the master, in the words of a majority of the Sentinels."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from msgspec import Struct

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.redis.address import Address, Endpoint
from aerostack_realtime.backplane.redis.connection import Connection, ConnectionLost, NotRedis, ServerError
from aerostack_realtime.backplane.redis.login import ServerUnreachable, authenticate, connected

SEEK_SECONDS: Final = 0.05
"""How often Sentinels are asked for the new master while nodes are without one. They name it before they publish
+switch-master, so asking finds it earlier than a subscription would."""
ANSWER_SECONDS: Final = 1.0
"""A Sentinel that takes longer has no say this time."""


class Master(Struct, frozen=True):
    """`epoch` is that of the configuration by which the Sentinels name it, 0 without Sentinels."""

    endpoint: Endpoint
    epoch: int


class Locator:
    """Finds the server of an address: the one it names, or the master that the Sentinels name.

    Connections to Sentinels are kept, since each node asks twice a second.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connections: dict[Endpoint, Connection] = {}

    async def locate(self) -> Master:
        """The newest configuration that any Sentinel names, once a majority of the configured ones has answered.

        A failover is decided by a majority, under a new epoch; so the highest epoch is right before the other
        Sentinels have heard of it, and a minority that is cut off never has it.

        Raises ServerUnreachable when no majority names a server, and JournalUnusable when the Sentinels cannot be
        asked or do not know the master.
        """
        if self._address.master is None:
            return Master(self._address.endpoints[0], 0)
        sentinels = self._address.endpoints
        answers = await asyncio.gather(*(self._ask(one) for one in sentinels), return_exceptions=True)
        named = [answer for answer in answers if isinstance(answer, Master)]
        if len(named) > len(sentinels) // 2:
            return max(named, key=lambda answer: answer.epoch)
        if answers.count(None) > len(sentinels) // 2:
            raise JournalUnusable(
                f"The Sentinels know no master named {self._address.master!r}: correct the name in the address, "
                "or add it by SENTINEL MONITOR."
            )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, ServerUnreachable):
                raise answer
        raise ServerUnreachable(
            f"{len(named)} of {len(sentinels)} Sentinels name a master, less than a majority: check that they run "
            f"and that this node reaches them ({_first(answers)})."
        )

    async def until_moved(self, master: Master) -> None:
        """Return when the Sentinels name another server. Without Sentinels, never."""
        if self._address.master is None:
            await asyncio.get_running_loop().create_future()
        while True:
            await asyncio.sleep(SEEK_SECONDS)
            with suppress(ServerUnreachable, JournalUnusable):
                if (await self.locate()).endpoint != master.endpoint:
                    return

    def close(self) -> None:
        for connection in self._connections.values():
            connection.abort()
        self._connections.clear()

    async def _ask(self, sentinel: Endpoint) -> Master | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(sentinel)
        except (TimeoutError, ConnectionLost, OSError):
            self._forget(sentinel)
            raise ServerUnreachable(f"the Sentinel at {sentinel} does not answer") from None

    async def _answer(self, sentinel: Endpoint) -> Master | None:
        connection = self._connections.get(sentinel)
        if connection is None or connection.lost.done():
            connection = await connected(self._address, sentinel)
            self._connections[sentinel] = connection
            await authenticate(connection, self._address.sentinel_credentials, sentinel)
        try:
            # The address first: a Sentinel names the new one while it still reconfigures the others.
            found = await connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", str(self._address.master))
            known = await connection.call("SENTINEL", "MASTER", str(self._address.master)) if found else []
        except NotRedis:
            raise JournalUnusable(f"What listens at {sentinel} is not a Sentinel: check the address.") from None
        except ServerError as error:
            self._forget(sentinel)
            raise _meaning(error, sentinel) from None
        if not found:
            return None
        epoch = dict(zip(known[::2], known[1::2], strict=True)).get(b"config-epoch", b"0")
        return Master(Endpoint(found[0].decode(), int(found[1])), int(epoch))

    def _forget(self, sentinel: Endpoint) -> None:
        if connection := self._connections.pop(sentinel, None):
            connection.abort()


def _meaning(error: ServerError, sentinel: Endpoint) -> Exception:
    if error.code in ("NOAUTH", "NOPERM"):
        return JournalUnusable(
            f"The Sentinel at {sentinel} asks for credentials: add ?sentinel_user=…&sentinel_password=… to the "
            "address, of a user that may run SENTINEL."
        )
    if "unknown command" in str(error):
        return JournalUnusable(
            f"{sentinel} is not a Sentinel: name the Sentinels' ports (26379), or write redis:// for one Redis."
        )
    return ServerUnreachable(f"the Sentinel at {sentinel} answers with an error ({str(error)[:100]})")


def _first(answers: list[Master | BaseException | None]) -> str:
    return next((str(answer) for answer in answers if isinstance(answer, BaseException)), "they disagree")
