"""HMAC-SHA-256 with one secret, for many messages."""

import hashlib
import hmac
from binascii import b2a_base64
from typing import Final

_BLOCK_BYTES: Final = 64
"""Of SHA-256."""
_INNER: Final = bytes(each ^ 0x36 for each in range(256))
_OUTER: Final = bytes(each ^ 0x5C for each in range(256))
_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")


class SharedSecret:
    """Signs with HMAC-SHA-256 (RFC 2104 §2). The two hashes begin with the secret, which is done once: signing
    then takes a third of what `hmac.digest` takes. Equal to one of the same secret."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK_BYTES:
            secret = hashlib.sha256(secret).digest()
        block = secret.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedSecret) and hmac.compare_digest(self.sign(b""), other.sign(b""))

    def __hash__(self) -> int:
        return hash(self.sign(b""))

    def sign(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def signed(self, message: bytes, written: str) -> bool:
        """Whether `written` is the signature of a message in base64url without padding. It takes the same time
        wherever the two differ."""
        expected = b2a_base64(self.sign(message), newline=False).translate(_TO_BASE64URL, b"=")
        return hmac.compare_digest(expected, written.encode(errors="surrogatepass"))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this is the signature of a message."""
        return hmac.compare_digest(self.sign(message), signature)
