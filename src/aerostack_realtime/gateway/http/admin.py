"""What an operator does to connected users: close their connections, revoke their tokens."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from aerostack_realtime.access.revocations import Revocation, Revocations
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import BadMessage

KEPT_SECONDS: Final = 400 * 24 * 3600
"""How long a revoked token is remembered: longer than tokens live in practice."""

KIND: Final = "revocation"


async def stored_revocations(database: Database) -> Revocations:
    """The revocations of earlier runs. Raises AerostackError."""
    found = await database.kept(KIND)
    return Revocations(msgspec.json.decode(value, type=Revocation) for value in found.values())


class Admin:
    """`sessions` are the sessions that are connected now; `now` is in seconds since the Unix epoch."""

    def __init__(
        self,
        sessions: Callable[[], Iterable[Session]],
        revocations: Revocations,
        database: Database,
        now: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._revocations = revocations
        self._database = database
        self._now = now

    def disconnect(self, user_id: str) -> int:
        """Close a user's connections, and return how many there were."""
        return self._close(lambda session: session.user_id == user_id, "disconnected by the admin")

    async def revoke_user(self, user_id: str) -> int:
        """Revoke all tokens issued to a user until now, and close the user's connections."""
        now = self._now()
        await self._add(Revocation("user", user_id, now, now + KEPT_SECONDS))
        return self.disconnect(user_id)

    async def revoke_token(self, token_id: str) -> int:
        """Revoke the token with this `jti`, and close the connections made with it."""
        now = self._now()
        await self._add(Revocation("token", token_id, now, now + KEPT_SECONDS))
        return self._close(
            lambda session: session.identity is not None and session.identity.claims.get("jti") == token_id,
            "the token was revoked",
        )

    async def _add(self, revocation: Revocation) -> None:
        """Stored first, so that an acknowledged revocation survives a restart."""
        key = f"{revocation.kind}:{revocation.subject}"
        await self._database.keep(KIND, key, msgspec.json.encode(revocation).decode())
        self._revocations.add(revocation)
        audit.record("revoked", kind=revocation.kind, subject=revocation.subject)

    def _close(self, concerned: Callable[[Session], bool], reason: str) -> int:
        found = [session for session in self._sessions() if concerned(session)]
        for session in found:
            session.close(close_codes.FORBIDDEN, reason)
        return len(found)


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
        return as_json({"closed": self._admin.disconnect(body.user_id)})

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
