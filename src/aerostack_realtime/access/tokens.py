"""User tokens: JWTs, each checked with keys of one fixed algorithm.

The attacks this has to stand are the vectors of tests/unit/access/test_tokens.py: `alg: none`, a public key
taken for an HMAC secret, keys smuggled in by the header, and what else RFC 8725 lists.
"""

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeGuard, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from aerostack_realtime.access.keys import digest_of
from aerostack_realtime.access.shared_secret import SharedSecret
from aerostack_realtime.protocol.errors import TokenExpired, Unauthorized

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
SECRET_ALGORITHM: Final = "HS256"
LEEWAY_SECONDS: Final = 30
MAX_TOKEN_BYTES: Final = 8192
MAX_REMEMBERED: Final = 50_000
"""Verified tokens that are remembered, at about 150 bytes each: clients that reconnect bring the same one."""
REMEMBERED_HEADERS: Final = 64
"""Headers of tokens that are remembered: an issuer gives the same one to all of its tokens."""
MIN_SECRET: Final = 32  # RFC 7518 §3.2: a key of the hash's size for HS256
MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3
_SMUGGLED: Final = frozenset({"crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"})
"""Headers that bring keys or change what is signed: a token with one is refused, not interpreted."""

_NO_OBJECT: Final = "The token is not a JWT: a part of it is not a JSON object."
_TO_BASE64: Final = bytes.maketrans(b"-_+/", b"+/!!")
"""base64url as base64. The characters that only base64 has are made into one that neither has."""
_NO_BASE64: Final = "The token is not a JWT: a part of it is not base64url."
_ALGORITHMS: Final = {name: jwt.get_algorithm_by_name(name) for name in get_args(Algorithm)}
"""PyJWT checks secrets, and verifies the signatures of public keys. Its `decode` would prepare the key for every
token again, and read the claims a second time: 40 µs of a connect."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Claims = dict[str, Any]


class TokenKey(Struct, frozen=True):
    """One key and the one algorithm it is for. With `kid`, it checks only tokens that name it or no key."""

    key: SharedSecret | PublicKey
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
    try:
        prepared = _ALGORITHMS[SECRET_ALGORITHM].prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ValueError("a secret is random text, and not a key or a certificate in another form") from None
    return TokenKey(SharedSecret(prepared), SECRET_ALGORITHM, kid, issuer, audience)


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


class _Header(NamedTuple):
    """What selects the keys for a token."""

    algorithm: str
    kid: str | None


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

    def check(self, token: str, digest: bytes | None = None) -> Claims:
        """The claims of a valid token; `sub` is a non-empty string and `exp` a number among them. `digest` is its
        `digest_of`, where the caller has it.

        Raises Unauthorized, TokenExpired. No message repeats the token or its claims.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
        keys = tuple(self._keys())
        if digest is None:
            digest = digest_of(token)
        known = self._remembered.get(digest)
        claims: Claims
        if known is not None and any(known is key for key in keys):
            claims = _parse(token.split(".")[1])
        else:
            claims, self._remembered[digest] = self._verified(token, keys)
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        self._check_times(claims)
        return claims

    def _verified(self, token: str, keys: Sequence[TokenKey]) -> tuple[Claims, TokenKey]:
        """The claims of a token, and the key that verified it. They are read only after that."""
        parts = token.split(".")
        if len(parts) != 3 or not all(parts):
            raise Unauthorized("The token is not a signed JWT of three parts.")
        header, payload, signature = parts
        algorithm, kid = _header(header)
        message, reason = f"{header}.{payload}".encode(errors="surrogatepass"), ""
        for key in keys:
            if key.algorithm != algorithm or not (key.kid is None or kid is None or key.kid == kid):
                continue
            if not _is_signed(message, signature, key):
                reason = reason or "its signature is wrong"
                continue
            claims = _parse(payload)
            misfit = _misfit(claims, key)
            if misfit is None:
                return claims, key
            reason = misfit
        if not reason:
            self._unknown()
            raise Unauthorized("No key of this server is for this token: check who issued it, and its algorithm.")
        raise Unauthorized(f"The token is not valid: {reason}. Sign in again for a new one.")

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


def _is_signed(message: bytes, signature: str, key: TokenKey) -> bool:
    """Whether a key made the signature of a message. Raises Unauthorized for what is not base64url."""
    if isinstance(key.key, SharedSecret):
        return key.key.signed(message, signature) or key.key.verify(message, _decoded(signature))
    return _ALGORITHMS[key.algorithm].verify(message, key.key, _decoded(signature))


def _misfit(claims: Claims, key: TokenKey) -> str | None:
    """Why a key is not for claims of this issuer and audience (RFC 7519 §4.1), or None."""
    if key.issuer is not None:
        if "iss" not in claims:
            return "it has no iss"
        if claims["iss"] != key.issuer:
            return "it is of another issuer"
    if key.audience is not None:
        named = claims.get("aud")
        if not named:
            return "it has no aud"
        audiences = [named] if isinstance(named, str) else named
        if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
            return "it is for another audience"
        if key.audience not in audiences:
            return "it is for another audience"
    return None


@lru_cache(REMEMBERED_HEADERS)
def _header(part: str) -> _Header:
    """The header in the first part of a token. Raises Unauthorized."""
    header = _parse(part)
    if header.keys() & _SMUGGLED:
        raise Unauthorized("The token's header names keys or extensions; that is refused.")
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or not isinstance(kid, str):
        raise Unauthorized("The token's header is not that of a JWT.")
    return _Header(algorithm, header.get("kid"))


def _parse(part: str) -> dict[str, Any]:
    """The JSON object in a part of a token; a name given twice would mean two things to two readers."""
    try:
        found = _read(_decoded(part).decode())
    except (ValueError, RecursionError):
        raise Unauthorized(_NO_OBJECT) from None
    if not isinstance(found, dict):
        raise Unauthorized(_NO_OBJECT)
    return found


def _decoded(part: str) -> bytes:
    """The bytes that a part of a token stands for: base64url in its one canonical form (RFC 7515 §2), or with the
    padding that some issuers add. Raises Unauthorized."""
    bare = part.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        written = padded.encode().translate(_TO_BASE64)
        data = a2b_base64(written)
    except ValueError:
        raise Unauthorized(_NO_BASE64) from None
    if part not in (bare, padded) or b2a_base64(data, newline=False) != written:
        raise Unauthorized(_NO_BASE64)
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _read(text: str) -> Any:
    """The value of a JSON text."""
    if text.startswith("{"):  # `decode` alone would look for white space before and after it, which is half of it
        found, end = _JSON.raw_decode(text)
        if end == len(text):
            return found
    return _JSON.decode(text)


_JSON: Final = json.JSONDecoder(object_pairs_hook=_object)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
