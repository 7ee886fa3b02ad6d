"""User tokens: JWTs, each checked with keys of one fixed algorithm.

The attacks this has to stand are the vectors of tests/unit/access/test_tokens.py: `alg: none`, a public key
taken for an HMAC secret, keys smuggled in by the header, and what else RFC 8725 lists.
"""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, TypeGuard

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from aerostack_realtime.protocol.errors import TokenExpired, Unauthorized

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
SECRET_ALGORITHM: Final = "HS256"
LEEWAY_SECONDS: Final = 30
MAX_TOKEN_BYTES: Final = 8192
MAX_REMEMBERED: Final = 50_000
"""Verified tokens that are remembered, at about 150 bytes each: clients that reconnect bring the same one."""
MIN_SECRET: Final = 32  # RFC 7518 §3.2: a key of the hash's size for HS256
MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3
_SMUGGLED: Final = frozenset({"crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"})
"""Headers that bring keys or change what is signed: a token with one is refused, not interpreted."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Claims = dict[str, Any]


class TokenKey(Struct, frozen=True):
    """One key and the one algorithm it is for. With `kid`, it checks only tokens that name it or no key."""

    key: str | PublicKey
    algorithm: Algorithm
    kid: str | None = None
    issuer: str | None = None
    audience: str | None = None


def secret_key(
    secret: str, *, kid: str | None = None, issuer: str | None = None, audience: str | None = None
) -> TokenKey:
    """A shared secret. Raises ValueError for one that can be guessed or that is a public key."""
    if "-----BEGIN" in secret:
        raise ValueError("a secret is not a PEM: write a public key as public_key")
    if len(secret) < MIN_SECRET:
        raise ValueError(
            f"a token secret has at least {MIN_SECRET} characters: make one by `openssl rand -hex 32`"
        )
    return TokenKey(secret, SECRET_ALGORITHM, kid, issuer, audience)


def public_key(
    pem: str,
    algorithm: Algorithm,
    *,
    kid: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> TokenKey:
    """A public key in PEM. Raises ValueError when it is none, or not one of the algorithm."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("public_key is not the PEM of a public key (-----BEGIN PUBLIC KEY-----)") from None
    return TokenKey(fit(key, algorithm), algorithm, kid, issuer, audience)


def fit(key: object, algorithm: str) -> PublicKey:
    """The key, if it is one for the algorithm. Raises ValueError."""
    if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"an RSA key has at least {MIN_RSA_BITS} bits; this one has {key.key_size}")
        return key
    if algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return key
    if algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise ValueError(f"the key is not one for {algorithm}")


def claimed_subject(token: str) -> str | None:
    """The `sub` of a token that may be forged: for records of what was refused, never for a decision."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN_BYTES:
        return None
    try:
        found = _parse(parts[1]).get("sub")
    except Unauthorized:
        return None
    return found if isinstance(found, str) else None


class Tokens:
    """Checks tokens. `keys` gives the keys as they are now; `now` is in seconds since the Unix epoch.

    The signature of a token is verified once while its key stays: of the newest MAX_REMEMBERED tokens the SHA-256
    is kept with the key that verified it. The times of a token are checked each time.

    `unknown` is called when no key fits a token: a key set that is fetched may have a new one. It may raise
    Unavailable.
    """

    def __init__(
        self,
        keys: Callable[[], Iterable[TokenKey]],
        now: Callable[[], float],
        unknown: Callable[[], None] = lambda: None,
    ) -> None:
        self._keys = keys
        self._now = now
        self._unknown = unknown
        self._remembered: dict[bytes, TokenKey] = {}

    def check(self, token: str) -> Claims:
        """The claims of a valid token; `sub` is a non-empty string and `exp` a number among them.

        Raises Unauthorized, TokenExpired. No message repeats the token or its claims.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
        keys = tuple(self._keys())
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._remembered.get(digest)
        claims: Claims
        if known is not None and any(known is key for key in keys):
            claims = json.loads(_decoded(token.split(".")[1]))
        else:
            claims, self._remembered[digest] = _verified(token, self._named(token, keys))
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        self._check_times(claims)
        return claims

    def _named(self, token: str, keys: Sequence[TokenKey]) -> list[TokenKey]:
        """The keys that may be for a token."""
        header = _header(token)
        kid = header.get("kid")
        named = [
            key
            for key in keys
            if key.algorithm == header.get("alg") and (key.kid is None or kid is None or key.kid == kid)
        ]
        if not named:
            self._unknown()
            raise Unauthorized("No key of this server is for this token: check who issued it, and its algorithm.")
        return named

    def _check_times(self, claims: Claims) -> None:
        now, expires, begins = self._now(), claims.get("exp"), claims.get("nbf")
        if not _is_number(expires):
            raise Unauthorized("The token needs an exp that is a number.")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise Unauthorized("The token needs a sub that is a string: it is the user id.")
        if begins is not None and not (_is_number(begins) and begins - LEEWAY_SECONDS <= now):
            raise Unauthorized("The token is not valid yet; check the clock of its issuer.")
        if expires + LEEWAY_SECONDS < now:
            raise TokenExpired("The token has expired; get a new one and connect again.")


def is_token(credential: str) -> bool:
    """Whether a credential has the shape of a JWT, which an API key does not have."""
    return credential.count(".") == 2


def _verified(token: str, keys: Sequence[TokenKey]) -> tuple[Claims, TokenKey]:
    reason = "its signature is wrong"
    for key in keys:
        try:
            claims: Claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=key.audience,
                issuer=key.issuer,
                options={
                    "verify_aud": key.audience is not None,
                    "verify_iss": key.issuer is not None,
                    "verify_exp": False,  # checked by our own clock, with a message for the client
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.InvalidAudienceError:
            reason = "it is for another audience"
        except jwt.MissingRequiredClaimError as missing:
            reason = f"it has no {missing.claim}"
        except jwt.InvalidIssuerError:
            reason = "it is of another issuer"
        except (jwt.InvalidTokenError, ValueError, TypeError):
            continue
        else:
            _parse(token.split(".")[1])
            return claims, key
    raise Unauthorized(f"The token is not valid: {reason}. Sign in again for a new one.")


def _header(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise Unauthorized("The token is not a signed JWT of three parts.")
    header = _parse(parts[0])
    if header.keys() & _SMUGGLED:
        raise Unauthorized("The token's header names keys or extensions; that is refused.")
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise Unauthorized("The token's header is not that of a JWT.")
    return header


def _parse(part: str) -> dict[str, Any]:
    """The JSON object in a part of a token; a name given twice would mean two things to two readers."""
    try:
        found = json.loads(_decoded(part), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise Unauthorized("The token is not a JWT: a part of it is not a JSON object.") from None
    if not isinstance(found, dict):
        raise Unauthorized("The token is not a JWT: a part of it is not a JSON object.")
    return found


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
