"""Tokens that are revoked before they expire."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

RevocationKind = Literal["token", "user"]


class Revocation(Struct, frozen=True):
    """`token`: the token of this `jti`. `user`: every token of this user issued up to `at` (s).

    It need not be kept beyond `until` (s since the Unix epoch), when nothing is left that it concerns.
    """

    kind: RevocationKind
    subject: str
    at: float
    until: float


class Revocations:
    """The present revocations. The owner stores each revocation before adding it."""

    def __init__(self, stored: Iterable[Revocation] = ()) -> None:
        self._tokens: dict[str, float] = {}
        self._users: dict[str, float] = {}
        for each in stored:
            self.add(each)

    def add(self, revocation: Revocation) -> None:
        if revocation.kind == "token":
            self._tokens[revocation.subject] = revocation.until
        else:
            self._users[revocation.subject] = max(revocation.at, self._users.get(revocation.subject, 0.0))

    def revoked(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token with these claims is revoked. A user's token that does not say when it was issued
        is, once any of that user's are."""
        jti = claims.get("jti")
        if isinstance(jti, str) and jti in self._tokens:
            return True
        since = self._users.get(claims.get("sub", ""))
        if since is None:
            return False
        issued = claims.get("iat")
        return not isinstance(issued, int | float) or issued <= since

    def expire(self, now: float) -> None:
        """Forget revoked tokens that would have expired anyway."""
        for jti in [jti for jti, until in self._tokens.items() if until < now]:
            del self._tokens[jti]
