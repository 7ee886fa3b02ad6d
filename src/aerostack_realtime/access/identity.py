"""Authentication: API keys and tokens in, an `Identity` out."""

from collections.abc import Callable
from typing import Any, Final, Literal

import jwt
from msgspec import Struct

from aerostack_realtime.access.keys import Keys, digest_of
from aerostack_realtime.access.revocations import Revocations
from aerostack_realtime.access.tokens import SECRET_ALGORITHM, Tokens
from aerostack_realtime.protocol.errors import InvalidKey, Unauthorized

IdentityKind = Literal["anonymous", "user", "server", "operator"]


class Identity(Struct, frozen=True):
    """The user or server that a connection or a request acts for.

    `server` has every right. An `operator` is signed in to the console and receives everything. A `user` has an id
    that a token proves. An `anonymous` one has the id that it claims, if any, and rules do not see that id.
    `expires` is in seconds since the Unix epoch; None means never.
    `key` is the fingerprint of the API key that was used.
    """

    kind: IdentityKind
    user_id: str | None = None
    expires: float | None = None
    claims: dict[str, Any] = {}
    key: str | None = None


NOBODY: Final = Identity("anonymous")
"""Of all clients without credentials and without an id: one object, since there may be many of them."""


class Authenticator:
    """Checks credentials.

    A publishable key alone proves no user: its client is anonymous, and may do what the rules allow to anyone.
    `anonymous` admits clients without any credentials as well. With `claimed_ids` anonymous clients name their
    own user id, without proof. `open_access` is for development: both of these hold. Wrong credentials are
    refused in every case.
    """

    def __init__(
        self,
        *,
        secret_keys: Keys,
        publishable_keys: Keys,
        tokens: Tokens | None,
        now: Callable[[], float],
        anonymous: bool = False,
        claimed_ids: bool = False,
        open_access: bool = False,
        revocations: Revocations | None = None,
    ) -> None:
        self._secret = secret_keys
        self._publishable = publishable_keys
        self._tokens = tokens
        self.anonymous = anonymous or open_access
        self.claimed_ids = claimed_ids or open_access
        self._revocations = Revocations() if revocations is None else revocations
        self._now = now

    def identify(self, key: str | None, token: str | None, user_id: str | None = None) -> Identity | None:
        """The identity that the credentials prove; None when there are none and anonymous is not allowed.

        `token` is a JWT or, as server SDKs send it, a secret key. A `token` equal to `key` is that key.
        `user_id` is the id that an anonymous client claims. Raises InvalidKey, Unauthorized, TokenExpired, and
        Unavailable while keys are not fetched yet.
        """
        digest = digest_of(token) if token else b""
        if digest and (secret := self._secret.find_digest(digest)):
            return Identity("server", key=secret)
        if key and (secret := self._secret.find(key)):
            if token and token != key:
                return self._user(token, digest, secret)
            return Identity("server", user_id, key=secret)
        known = self._publishable.find(key) if key else None
        if key and known is None:
            raise InvalidKey("This API key is not known here; check the key, and the project's settings.")
        if token and token != key:
            return self._user(token, digest, known)
        if not self.anonymous and known is None:
            return None
        claimed = (user_id or None) if self.claimed_ids else None
        return NOBODY if claimed is None and known is None else Identity("anonymous", claimed, key=known)

    def has_key(self, fingerprint: str) -> bool:
        """Whether a key with this fingerprint is accepted now."""
        return fingerprint in self._secret.fingerprints or fingerprint in self._publishable.fingerprints

    def adopt(self, other: "Authenticator") -> None:
        """Accept what `other` accepts, from now on."""
        self._secret = other._secret
        self._publishable = other._publishable
        self._tokens = other._tokens
        self.anonymous = other.anonymous
        self.claimed_ids = other.claimed_ids

    def expired(self, identity: Identity) -> bool:
        """Whether the token that proved an identity has expired."""
        return identity.expires is not None and identity.expires < self._now()

    def _user(self, token: str, digest: bytes, key: str | None) -> Identity:
        if self._tokens is None:
            raise Unauthorized("This server checks no tokens: set token_secret or token_keys in its settings.")
        claims = self._tokens.check(token, digest)
        if self._revocations.revoked(claims):
            raise Unauthorized("The token was revoked. Sign in again for a new one.")
        return Identity("user", claims["sub"], float(claims["exp"]), claims, key)


def sign(secret: str, claims: dict[str, Any]) -> str:
    """A token as this server checks it, for development and tests. `claims` holds `sub` and `exp`."""
    return jwt.encode(claims, secret, algorithm=SECRET_ALGORITHM)
