"""Tokens whose signature was verified before."""

import pytest

from aerostack_realtime.access.shared_secret import SharedSecret
from aerostack_realtime.access.tokens import (
    LEEWAY_SECONDS,
    TokenKey,
    Tokens,
    secret_key,
)
from aerostack_realtime.protocol.errors import TokenExpired, Unauthorized
from tests.unit.access.signed_tokens import CLAIMS, NOW, SECRET, made, tokens


class CountedKeys:
    """Keys of one secret that can be replaced."""

    def __init__(self) -> None:
        self.keys = [secret_key(SECRET)]

    def __call__(self) -> list[TokenKey]:
        return self.keys


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens, without their signature, whose signature was verified."""
    seen: list[str] = []
    verify = SharedSecret.signed

    def counted(secret: SharedSecret, message: bytes, written: str) -> bool:
        seen.append(message.decode())
        return verify(secret, message, written)

    monkeypatch.setattr(SharedSecret, "signed", counted)
    return seen


def signed(token: str) -> str:
    """The part of a token that its signature is for."""
    return token.rpartition(".")[0]


def test_the_signature_of_a_token_is_verified_once(verifications: list[str]) -> None:
    checks, token = Tokens(CountedKeys(), lambda: NOW), made()
    assert checks.check(token) == checks.check(token) == CLAIMS
    assert verifications == [signed(token)]


def test_a_remembered_token_expires(verifications: list[str]) -> None:
    now = [NOW]
    key = secret_key(SECRET)
    checks, token = Tokens(lambda: [key], lambda: now[0]), made()
    checks.check(token)
    now[0] += 60 + LEEWAY_SECONDS + 1
    with pytest.raises(TokenExpired):
        checks.check(token)


def test_a_key_that_is_replaced_no_longer_vouches_for_remembered_tokens(verifications: list[str]) -> None:
    keys = CountedKeys()
    checks, token = Tokens(keys, lambda: NOW), made()
    checks.check(token)
    keys.keys = [secret_key("another-secret-of-thirty-two-bytes!!")]
    with pytest.raises(Unauthorized):
        checks.check(token)


def test_a_refused_token_is_not_remembered(verifications: list[str]) -> None:
    checks, token = tokens(), made("another-secret-of-thirty-two-bytes!!")
    for _ in range(2):
        with pytest.raises(Unauthorized):
            checks.check(token)
    assert len(verifications) == 2


def test_as_many_tokens_are_remembered_as_there_is_room_for(
    verifications: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.access.tokens.MAX_REMEMBERED", 2)
    keys = CountedKeys()
    checks = Tokens(keys, lambda: NOW)
    first, second, third = (made(n=n) for n in range(3))
    for token in (first, second, third, third, second, first):
        checks.check(token)
    assert verifications == [signed(token) for token in (first, second, third, first)]


def test_remembered_claims_are_a_copy_each_time(verifications: list[str]) -> None:
    keys = CountedKeys()
    checks, token = Tokens(keys, lambda: NOW), made(roles=["a"])
    for _ in range(3):
        claims = checks.check(token)
        assert claims["roles"] == ["a"]
        claims["roles"].append("b")
