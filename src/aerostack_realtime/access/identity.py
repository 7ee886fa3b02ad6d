"""Who someone is: API keys and tokens in, an `Identity` out."""

import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import jwt
from msgspec import Struct

from aerostack_realtime.protocol.errors import TokenExpired, Unauthorized

ALGORITHM: Final = "HS256"
LEEWAY_SECONDS: Final = 30
MAX_TOKEN_BYTES: Final = 8192

Kind = Literal["anonymous", "user", "server"]


class Identity(Struct, frozen=True):
    """Who a connection or a request speaks for.

    `server` has every right; a `user` has an id; an `anonymous` one has the id it claims, if any. `expires`
    is in seconds since the Unix epoch, None: never.
    """

    kind: Kind
    user_id: str | None = None
    expires: float | None = None
    claims: dict[str, Any] = {}


class Authenticator:
    """Checks credentials.

    `open_access` is for development: anonymous clients are let in, under any user id that they claim, and a
    key that is no secret key counts as publishable. Otherwise a client needs a known key or a valid token.
    `now` is in seconds since the Unix epoch.
    """

    def __init__(
        self,
        *,
        secret_keys: Sequence[str],
        publishable_keys: Sequence[str],
        token_secret: str | None,
        open_access: bool,
        now: Callable[[], float],
    ) -> None:
        self._secret = [key.encode() for key in secret_keys]
        self._publishable = [key.encode() for key in publishable_keys]
        self._token_secret = token_secret
        self._open = open_access
        self._now = now

    @property
    def open_access(self) -> bool:
        return self._open

    def identify(self, key: str | None, token: str | None, user_id: str | None = None) -> Identity | None:
        """The identity that the credentials prove; None when there are none and anonymous is not allowed.

        `token` is a JWT or, as server SDKs send it, a secret key. `user_id` is what an anonymous client
        claims. Raises Unauthorized, TokenExpired.
        """
        if token and _among(self._secret, token):
            return Identity("server")
        if key and _among(self._secret, key):
            return self._user(token) if token else Identity("server", user_id)
        if key and not self._open and not _among(self._publishable, key):
            raise Unauthorized("This API key is not known here; check the key, and the project's settings.")
        if token:
            return self._user(token)
        return Identity("anonymous", user_id or None) if self._open else None

    def expired(self, identity: Identity) -> bool:
        """Whether the token that proved an identity has expired since."""
        return identity.expires is not None and identity.expires < self._now()

    def _user(self, token: str) -> Identity:
        if self._token_secret is None:
            raise Unauthorized("This server checks no tokens: set token_secret in its settings.")
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
        try:
            header = jwt.get_unverified_header(token)
            if header.keys() & {"crit", "jwk", "jku", "x5u"}:
                raise Unauthorized("The token's header names keys or extensions; that is refused.")
            claims = jwt.decode(
                token,
                self._token_secret,
                algorithms=[ALGORITHM],
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp", "sub"],
                    "verify_exp": False,
                    "verify_aud": False,
                    "verify_iat": False,
                },
            )
        except jwt.ImmatureSignatureError:
            raise Unauthorized("The token is not valid yet; check the clock of who made it.") from None
        except jwt.InvalidTokenError as invalid:
            raise Unauthorized(f"The token is not valid: {invalid}. Sign in again for a new one.") from None
        user_id, expires = claims["sub"], claims["exp"]
        if not isinstance(user_id, str) or not user_id or not isinstance(expires, int | float):
            raise Unauthorized("The token needs a sub that is a string and an exp that is a number.")
        if expires + LEEWAY_SECONDS < self._now():
            raise TokenExpired("The token has expired; get a new one and connect again.")
        return Identity("user", user_id, float(expires), claims)


def sign(secret: str, claims: dict[str, Any]) -> str:
    """A token as this server checks it, for development and tests. `claims` holds `sub` and `exp`."""
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _among(keys: list[bytes], given: str) -> bool:
    """Compared in constant time, and against every key, so that the answer's time says nothing."""
    data = given.encode()
    found = False
    for key in keys:
        found |= hmac.compare_digest(key, data)
    return found
