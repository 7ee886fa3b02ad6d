"""Tokens that tests sign, and what checks them."""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from aerostack_realtime.access.tokens import (
    TokenKey,
    Tokens,
    secret_key,
)

NOW = 1_763_912_345
SECRET = "a-secret-of-at-least-thirty-two-bytes"
CLAIMS = {"sub": "ann", "exp": NOW + 60}


@cache
def private(algorithm: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return (
        ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()
    )


def pem(algorithm: str) -> str:
    public = private(algorithm).public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def tokens(*keys: TokenKey) -> Tokens:
    return Tokens(lambda: keys or (secret_key(SECRET),), lambda: NOW)


def made(key: Any = SECRET, algorithm: str = "HS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    return jwt.encode({**CLAIMS, **claims}, key, algorithm=algorithm, headers=header)


def part(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: Any, claims: Any = CLAIMS, secret: bytes = SECRET.encode()) -> str:
    """A token signed by HMAC, whatever its header says."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
