"""What an admin does to those who are connected: close them, revoke their tokens."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from aerostack_realtime.access.revocations import Revocation, Revocations
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import close_codes

KEPT_SECONDS: Final = 400 * 24 * 3600
"""How long a revoked token is remembered: longer than anyone lets one live."""

KIND: Final = "revocation"


async def stored(database: Database) -> Revocations:
    """What earlier runs revoked. Raises AerostackError."""
    found = await database.kept(KIND)
    return Revocations(msgspec.json.decode(value, type=Revocation) for value in found.values())


class Admin:
    """`sessions` are those that are connected now; `now` is in seconds since the Unix epoch."""

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
        """Let no token of a user count that was issued until now, and close the user's connections."""
        now = self._now()
        await self._add(Revocation("user", user_id, now, now + KEPT_SECONDS))
        return self.disconnect(user_id)

    async def revoke_token(self, token_id: str) -> int:
        """Let the token of this `jti` count no more, and close the connections made with it."""
        now = self._now()
        await self._add(Revocation("token", token_id, now, now + KEPT_SECONDS))
        return self._close(
            lambda session: session.identity is not None and session.identity.claims.get("jti") == token_id,
            "the token was revoked",
        )

    async def _add(self, revocation: Revocation) -> None:
        """Durable first: what was answered holds over a restart."""
        key = f"{revocation.kind}:{revocation.subject}"
        await self._database.keep(KIND, key, msgspec.json.encode(revocation).decode())
        self._revocations.add(revocation)
        audit.record("revoked", kind=revocation.kind, subject=revocation.subject)

    def _close(self, concerned: Callable[[Session], bool], reason: str) -> int:
        found = [session for session in self._sessions() if concerned(session)]
        for session in found:
            session.close(close_codes.FORBIDDEN, reason)
        return len(found)
