"""Key sets: fetched, read strictly, and kept when the provider fails."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from aerostack_realtime.access.jwks import MAX_KEYS, KeySet
from aerostack_realtime.access.tokens import Tokens
from aerostack_realtime.protocol.errors import Unauthorized

NOW = 1_763_912_345
KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(kid: str, key: Any = KEY, **more: Any) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.ECAlgorithm if key is KEY else jwt.algorithms.RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


class Provider:
    """An identity provider: serves what it has, or fails."""

    def __init__(self, *keys: Any) -> None:
        self.document: bytes | None = json.dumps({"keys": keys}).encode()

    async def fetch(self, url: str) -> bytes:
        if self.document is None:
            raise ConnectionError("down")
        return self.document

    def set(self) -> KeySet:
        return KeySet("https://idp/keys", "ES256", self.fetch, audience="mine")


def token(kid: str) -> str:
    return jwt.encode({"sub": "ann", "exp": NOW + 60, "aud": "mine"}, KEY, algorithm="ES256", headers={"kid": kid})


async def test_the_keys_of_a_set_check_tokens() -> None:
    keys = Provider(jwk("one", use="sig", alg="ES256")).set()
    tokens = Tokens(lambda: keys.keys, lambda: NOW)
    with pytest.raises(Unauthorized):
        tokens.check(token("one"))
    assert await keys.refresh()
    assert tokens.check(token("one"))["sub"] == "ann"
    with pytest.raises(Unauthorized):
        tokens.check(token("two"))


@pytest.mark.parametrize("bad", [None, b"", b"<html>", b"[]", b'{"keys":1}', b'{"keys":[]}', b'{"keys":[{}]}'])
async def test_the_last_good_set_is_kept(bad: bytes | None) -> None:
    provider = Provider(jwk("one"))
    keys = provider.set()
    assert await keys.refresh()
    provider.document = bad
    assert not await keys.refresh()
    assert [key.kid for key in keys.keys] == ["one"]


async def test_a_rotated_set_replaces_the_last_one() -> None:
    provider = Provider(jwk("one"))
    keys = provider.set()
    await keys.refresh()
    provider.document = Provider(jwk("two")).document
    assert await keys.refresh()
    assert [key.kid for key in keys.keys] == ["two"]


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"},
        jwk("x", use="enc"),
        jwk("x", alg="RS256"),
        jwk("x", rsa.generate_private_key(65537, 2048)),
        {"kty": "EC", "crv": "P-256"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": []},
        "a string",
        None,
    ],
)
def test_an_entry_for_something_else_is_no_key(entry: Any) -> None:
    """A symmetric key above all: the document is public."""
    found = Provider().set().parse(json.dumps({"keys": [entry, jwk("good")]}).encode())
    assert [key.kid for key in found] == ["good"]


def test_a_set_is_bounded() -> None:
    document = json.dumps({"keys": [jwk(str(number)) for number in range(MAX_KEYS + 1)]}).encode()
    assert len(Provider().set().parse(document)) == MAX_KEYS
