"""HMAC-SHA-256: the same signatures as the standard library's."""

import base64
import hmac

from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.access.shared_secret import SharedSecret

secrets = st.binary(min_size=1, max_size=200)


@given(secrets, st.binary(max_size=300))
def test_a_signature_is_that_of_the_standard_library(secret: bytes, message: bytes) -> None:
    assert SharedSecret(secret).sign(message) == hmac.digest(secret, message, "sha256")


@given(secrets, st.binary(max_size=50))
def test_a_written_signature_is_base64url_without_padding(secret: bytes, message: bytes) -> None:
    written = base64.urlsafe_b64encode(hmac.digest(secret, message, "sha256")).decode()
    shared = SharedSecret(secret)
    assert shared.signed(message, written.rstrip("="))
    assert not shared.signed(message, written)
    assert not shared.signed(message + b"x", written.rstrip("="))


@given(st.text(max_size=50))
def test_another_text_is_not_the_signature(text: str) -> None:
    assert not SharedSecret(b"s" * 32).signed(b"m", text)


def test_secrets_are_compared_by_their_value() -> None:
    first, same, other = SharedSecret(b"s" * 32), SharedSecret(b"s" * 32), SharedSecret(b"t" * 32)
    assert first == same
    assert hash(first) == hash(same)
    assert first != other
    assert first != b"s" * 32


def test_a_secret_is_not_shown() -> None:
    assert "secret-of" not in repr(SharedSecret(b"a-secret-of-at-least-thirty-two-bytes"))
