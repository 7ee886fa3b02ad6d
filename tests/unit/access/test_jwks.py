"""Key sets: fetched, read strictly, and kept when the provider fails."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from aerostack_realtime.access.jwks import MAX_KEYS, REFRESH_SECONDS, RETRY_SECONDS, KeySet, pause
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
def test_an_entry_of_another_use_is_not_a_key(entry: Any) -> None:
    """A symmetric key above all: the document is public."""
    found = Provider().set().parse(json.dumps({"keys": [entry, jwk("good")]}).encode())
    assert [key.kid for key in found] == ["good"]


def test_a_set_is_bounded() -> None:
    document = json.dumps({"keys": [jwk(str(number)) for number in range(MAX_KEYS + 1)]}).encode()
    assert len(Provider().set().parse(document)) == MAX_KEYS


class Time:
    """Time that passes at once while the keeper of a set waits, and stops when the provider has given all of its
    `answers`. `unknown`: the seconds at which a token names a key that is not there."""

    def __init__(self, answers: Sequence[bytes | None], unknown: Sequence[float] = ()) -> None:
        self.now = 0.0
        self.asked: list[float] = []
        self.kids: list[list[str | None]] = []
        self.keys = KeySet("https://idp/keys", "ES256", self._fetch)
        self._answers = list(answers)
        self._unknown = unknown
        self._over = asyncio.Event()

    async def run(self) -> "Time":
        """Fetch the set and keep it. What it held is then in `kids`, one list for each time it was asked for."""
        await self.keys.refresh()
        keeping = asyncio.create_task(self.keys.keep(self._pause))
        await self._over.wait()
        keeping.cancel()
        return self

    async def _fetch(self, url: str) -> bytes:
        self.asked.append(self.now)
        self.kids.append([key.kid for key in self.keys.keys])
        if not self._answers:
            self._over.set()
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if answer is None:
            raise ConnectionError("down")
        return answer

    async def _pause(self, seconds: float, event: asyncio.Event | None) -> None:
        until = self.now + seconds
        due = [each for each in self._unknown if self.now < each <= until]
        if event is None or not event.is_set():
            self.now = until if event is None or not due else due[0]
        if due:
            self.keys.want()
        await asyncio.sleep(0)


def document(kid: str) -> bytes:
    return json.dumps({"keys": [jwk(kid)]}).encode()


async def test_a_set_is_fetched_again_at_its_interval() -> None:
    time = await Time([document("one"), document("two"), document("three")]).run()
    assert time.asked == [0, REFRESH_SECONDS, 2 * REFRESH_SECONDS, 3 * REFRESH_SECONDS]
    assert time.kids == [[], ["one"], ["two"], ["three"]]


async def test_a_failing_provider_is_retried_sooner_and_its_keys_are_kept() -> None:
    time = await Time([document("one"), None, b"<html>", None, document("two")]).run()
    back = REFRESH_SECONDS + 3 * RETRY_SECONDS
    assert time.asked == [
        *(0, REFRESH_SECONDS, REFRESH_SECONDS + RETRY_SECONDS, REFRESH_SECONDS + 2 * RETRY_SECONDS),
        *(back, back + REFRESH_SECONDS),
    ]
    assert time.kids == [[], ["one"], ["one"], ["one"], ["one"], ["two"]]


async def test_a_provider_that_was_down_at_the_start_is_asked_until_it_answers() -> None:
    time = await Time([None, None, document("one")]).run()
    assert time.asked == [0, RETRY_SECONDS, 2 * RETRY_SECONDS, 2 * RETRY_SECONDS + REFRESH_SECONDS]
    assert time.kids == [[], [], [], ["one"]]


async def test_a_token_with_an_unknown_key_brings_the_next_fetch_forward() -> None:
    time = await Time([document("one"), document("two")], unknown=[100]).run()
    assert time.asked == [0, 100, 100 + REFRESH_SECONDS]


async def test_unknown_keys_do_not_flood_the_provider() -> None:
    """Neither while it answers nor while it fails."""
    flood = [each / 10 for each in range(10 * 5 * int(RETRY_SECONDS))]
    time = await Time([document("one"), document("one"), None, document("one")], unknown=flood).run()
    assert time.asked == [0, *(RETRY_SECONDS * count for count in (1, 2, 3, 4))]


async def test_a_pause_ends_by_its_time_or_by_its_event() -> None:
    event = asyncio.Event()
    async with asyncio.timeout(60):
        await pause(0.001)
        await pause(0.001, event)
        event.set()
        await pause(1000, event)
