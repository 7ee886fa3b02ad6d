"""The sessions of operators: a signed cookie, which every node of a cluster accepts.

The secret that signs is made once and kept in the database, as are the sessions that operators have ended.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final

import jwt
import msgspec
from msgspec import Struct

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.access.operators import OperatorRights, Operators
from aerostack_realtime.access.revocations import Revocations
from aerostack_realtime.database.base import Database
from aerostack_realtime.protocol.errors import Forbidden, Unauthorized

KIND: Final = "console"
_SECRET: Final = "secret"
_ENDED: Final = "ended"
_AUDIENCE: Final = "aerostack-console"
SECRET_BYTES: Final = 32
TOKEN_CLAIMS: Final = ("sub", "jti", "iat")
"""What a session keeps of the token it was opened with, so that a revocation of the token ends it."""

_decode_ended = msgspec.json.Decoder(dict[str, float]).decode
_decode_kept = msgspec.json.Decoder(tuple[str, str]).decode


class Operator(Struct, frozen=True):
    """An operator who has signed in: with a secret `key` (its fingerprint), or as a `user`. `until` is in seconds
    since the Unix epoch, and `token` what identifies the token."""

    id: str
    rights: OperatorRights
    until: float
    user: str | None = None
    key: str | None = None
    token: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Who it is, for the audit log."""
        return self.user if self.user is not None else f"key {self.key}"

    @property
    def identity(self) -> Identity:
        return Identity("operator", None, self.until, key=self.key)


class OperatorSessions:
    """Opens, checks and ends sessions of `hours`. `now` is in seconds since the Unix epoch."""

    def __init__(
        self,
        *,
        operators: Operators,
        authenticator: Authenticator,
        revocations: Revocations,
        database: Database,
        hours: float,
        now: Callable[[], float],
    ) -> None:
        self._operators = operators
        self._authenticator = authenticator
        self._revocations = revocations
        self._database = database
        self._seconds = hours * 3600
        self._now = now
        self._secret = ""
        self._ended: dict[str, float] = {}

    async def load(self) -> None:
        """Read the secret of the cluster, or make it. Raises AerostackError."""
        self._database.listen(self._heard)
        kept = await self._database.kept(KIND)
        for key, value in kept.items():
            self._take(key, value)
        if not self._secret:
            await self._database.keep(KIND, _SECRET, secrets.token_hex(SECRET_BYTES))

    def open(self, identity: Identity) -> tuple[Operator, str]:
        """A session for a credential's identity, and its cookie. Raises Forbidden."""
        rights = self._operators.rights(identity)
        if rights is None:
            raise Forbidden(
                "This credential may not use the console: sign in with a secret key, or with the token of a user "
                "for whom `operators` or `viewers` of [console] is true."
            )
        until = self._now() + self._seconds
        if identity.expires is not None:
            until = min(until, identity.expires)
        token: dict[str, Any] = {name: identity.claims[name] for name in TOKEN_CLAIMS if name in identity.claims}
        user = identity.user_id if identity.kind == "user" else None
        operator = Operator(secrets.token_urlsafe(12), rights, until, user, identity.key, token)
        session = msgspec.to_builtins(operator)
        claims = {"aud": _AUDIENCE, "exp": int(until), "session": session}
        return operator, jwt.encode(claims, self._secret, algorithm="HS256")

    def find(self, cookie: str | None) -> Operator:
        """The operator of a cookie. Raises Unauthorized when it is missing, forged, expired or ended."""
        if cookie:
            try:
                claims = jwt.decode(
                    cookie, self._secret, algorithms=["HS256"], audience=_AUDIENCE, options={"verify_exp": False}
                )
                operator = msgspec.convert(claims["session"], Operator)
            except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError):
                pass
            else:
                if self.is_valid(operator):
                    return operator
        raise Unauthorized("Sign in to the console first; a session may also have ended.")

    async def end(self, operator: Operator) -> None:
        """End a session, on every node. Raises AerostackError."""
        now = self._now()
        ended = {id: until for id, until in self._ended.items() if until > now} | {operator.id: operator.until}
        await self._database.keep(KIND, _ENDED, msgspec.json.encode(ended).decode())
        self._ended |= ended

    def is_valid(self, operator: Operator) -> bool:
        """Whether a session is valid: it has not expired or ended, and its key and token are still accepted."""
        if operator.until <= self._now() or operator.id in self._ended:
            return False
        if operator.key is not None and not self._authenticator.has_key(operator.key):
            return False
        return not (operator.token and self._revocations.revoked(operator.token))

    def _heard(self, kind: str, payload: bytes) -> None:
        if kind == f"kept.{KIND}":
            self._take(*_decode_kept(payload))

    def _take(self, key: str, value: str) -> None:
        if key == _SECRET:
            self._secret = value
        elif key == _ENDED:
            self._ended |= _decode_ended(value)
