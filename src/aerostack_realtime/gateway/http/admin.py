"""What an operator does on all nodes: close users' connections, revoke their tokens, list the nodes."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from aerostack_realtime.access.revocations import Revocation, Revocations
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import BadMessage, Unavailable

KEPT_SECONDS: Final = 400 * 24 * 3600
"""How long a revoked token is remembered: longer than tokens live in practice."""

KIND: Final = "revocation"
KEPT: Final = f"kept.{KIND}"
REMEMBERED: Final = 1_000
"""Instructions that a node remembers, so that it carries out each once."""

log = logging.getLogger(__name__)


async def stored_revocations(database: Database) -> Revocations:
    """The revocations so far; those that any node stores later are added. Raises AerostackError."""
    revocations = Revocations()

    def heard(kind: str, payload: bytes) -> None:
        if kind == KEPT and (revocation := _kept(payload)) is not None:
            revocations.add(revocation)

    database.listen(heard)
    for value in (await database.kept(KIND)).values():
        revocations.add(decode_revocation(value))
    return revocations


class Disconnect(Struct, frozen=True):
    """An instruction to all nodes: close the connections of a user, or one `connection`. `id` is unique."""

    id: str
    user_id: str
    connection: str = ""


class NodeReply(Struct, frozen=True):
    """What a node says of itself when it is asked. `generation` is that of its journal."""

    node: str
    generation: str


class NodeReport(Struct, frozen=True, rename="camel"):
    """A node of the cluster as an operator sees it. `lag_ms` is how long an item of this node takes through the
    journal, `keeper` whether it does what exactly one node has to do; `generation` is None without an answer."""

    node: str
    name: str
    version: str
    connections: int
    lag_ms: float
    generation: str | None
    keeper: bool


decode_revocation = msgspec.json.Decoder(Revocation).decode
decode_disconnect = msgspec.json.Decoder(Disconnect).decode
decode_kept = msgspec.json.Decoder(tuple[str, str]).decode
decode_reply = msgspec.json.Decoder(NodeReply).decode
decode_count = msgspec.json.Decoder(int).decode


class Admin:
    """`sessions` are the sessions that are connected to this node now; `now` is in seconds since the Unix epoch.

    An instruction reaches every node twice: through the journal, where each node answers how many connections it
    closed, and through the database, which also reaches a node that was cut off. A node carries it out once.
    """

    def __init__(
        self,
        sessions: Callable[[], Iterable[Session]],
        revocations: Revocations,
        hub: Hub,
        database: Database,
        now: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._revocations = revocations
        self._hub = hub
        self._database = database
        self._now = now
        self._carried_out: dict[str, int] = {}
        hub.handle("disconnect", lambda payload: self._disconnect(decode_disconnect(payload)))
        hub.handle("revoke", lambda payload: self._revoke(decode_revocation(payload)))
        hub.handle("node", lambda _: NodeReply(hub.node, hub.generation))
        database.listen(self._heard)

    async def disconnect(self, user_id: str) -> int:
        """Close a user's connections to all nodes, and return how many there were. Raises AerostackError."""
        return await self._instruct(Disconnect(secrets.token_hex(8), user_id))

    async def disconnect_one(self, connection: str) -> int:
        """Close one connection, whichever node it is on; how many there were. Raises AerostackError."""
        return await self._instruct(Disconnect(secrets.token_hex(8), "", connection))

    async def _instruct(self, instruction: Disconnect) -> int:
        try:
            await self._database.announce("disconnect", msgspec.json.encode(instruction))
        except Unavailable as error:
            log.warning("a disconnect goes through the journal alone: %s", error.message)
        return await self._everywhere("disconnect", instruction)

    async def revoke_user(self, user_id: str) -> int:
        """Revoke a user's tokens issued until now, and close the user's connections. Raises as `disconnect`."""
        now = self._now()
        return await self._add(Revocation("user", user_id, now, now + KEPT_SECONDS))

    async def revoke_token(self, token_id: str) -> int:
        """Revoke the token with this `jti`, and close the connections made with it. Raises AerostackError."""
        now = self._now()
        return await self._add(Revocation("token", token_id, now, now + KEPT_SECONDS))

    async def nodes(self) -> list[NodeReport]:
        """The live nodes of the cluster; the keeper first. Raises AerostackError."""
        found = Answer[list[bytes]]()
        self._hub.ask("node", None, found.done)
        replies = {reply.node: reply.generation for reply in map(decode_reply, await found)}
        return [
            NodeReport(
                each.node,
                each.name,
                each.version,
                each.connections,
                round(each.lag_us / 1000, 1),
                replies.get(each.node),
                keeper=index == 0,
            )
            for index, each in enumerate(self._hub.nodes())
        ]

    async def _add(self, revocation: Revocation) -> int:
        """Stored first, so that an acknowledged revocation survives a restart."""
        key = f"{revocation.kind}:{revocation.subject}"
        await self._database.keep(KIND, key, msgspec.json.encode(revocation).decode())
        audit.record("revoked", kind=revocation.kind, subject=revocation.subject)
        return await self._everywhere("revoke", revocation)

    async def _everywhere(self, kind: str, instruction: Struct) -> int:
        """Let all nodes carry out an instruction; the sum of their answers."""
        found = Answer[list[bytes]]()
        self._hub.ask(kind, instruction, found.done)
        return sum(map(decode_count, await found))

    def _heard(self, kind: str, payload: bytes) -> None:
        if kind == KEPT:
            if (revocation := _kept(payload)) is not None:
                self._revoke(revocation)
        elif kind == "disconnect":
            try:
                self._disconnect(decode_disconnect(payload))
            except msgspec.MsgspecError:
                log.warning("a disconnect in the database's log cannot be read, and is ignored")

    def _disconnect(self, instruction: Disconnect) -> int:
        def concerned(session: Session) -> bool:
            if instruction.connection:
                return session.connection_id == instruction.connection
            return session.user_id == instruction.user_id

        return self._once(instruction.id, concerned, "disconnected by the admin")

    def _revoke(self, revocation: Revocation) -> int:
        self._revocations.add(revocation)
        id = f"{revocation.kind}:{revocation.subject}:{revocation.at}"
        if revocation.kind == "user":
            return self._once(
                id, lambda session: session.user_id == revocation.subject, "disconnected by the admin"
            )
        return self._once(
            id,
            lambda session: (
                session.identity is not None and session.identity.claims.get("jti") == revocation.subject
            ),
            "the token was revoked",
        )

    def _once(self, id: str, concerned: Callable[[Session], bool], reason: str) -> int:
        """Close the sessions that an instruction concerns, and return how many; a repeat closes none."""
        closed = self._carried_out.get(id)
        if closed is not None:
            return closed
        found = [session for session in self._sessions() if concerned(session)]
        for session in found:
            session.close(close_codes.FORBIDDEN, reason)
        self._carried_out[id] = len(found)
        if len(self._carried_out) > REMEMBERED:
            del self._carried_out[next(iter(self._carried_out))]
        return len(found)


def _kept(payload: bytes) -> Revocation | None:
    """The revocation of an announcement; None for one that cannot be read."""
    try:
        return decode_revocation(decode_kept(payload)[1])
    except msgspec.MsgspecError:
        log.warning("a revocation in the database's log cannot be read, and is ignored")
        return None


class _Disconnect(Struct, rename="camel"):
    user_id: str


class _Revoke(Struct, rename="camel"):
    user_id: str | None = None
    token_id: str | None = None


class AdminCalls:
    """The operator's HTTP calls, with the secret key."""

    def __init__(
        self, *, admin: Admin, reload: Callable[[], Awaitable[object]], callers: Callers, nesting: int
    ) -> None:
        self._admin = admin
        self._reload = reload
        self._callers = callers
        self._nesting = nesting

    async def disconnect(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        body = await read_body(request, _Disconnect, self._nesting)
        return as_json({"closed": await self._admin.disconnect(body.user_id)})

    async def nodes(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        return as_json({"nodes": await self._admin.nodes()})

    async def revoke(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        body = await read_body(request, _Revoke, self._nesting)
        if (body.user_id is None) == (body.token_id is None):
            raise BadMessage("Name either userId, for all tokens issued until now, or tokenId, a token's jti.")
        if body.user_id is not None:
            return as_json({"closed": await self._admin.revoke_user(body.user_id)})
        assert body.token_id is not None, "one of the two was named"
        return as_json({"closed": await self._admin.revoke_token(body.token_id)})

    async def reload(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        return as_json(await self._reload())
