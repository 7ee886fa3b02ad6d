"""API keys: several of each kind, so that they can be rotated, and kept as digests."""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

DIGEST_PREFIX: Final = "sha256:"
MIN_KEY: Final = 16
"""Characters of a key. A key is random, so one plain SHA-256 keeps it: there is nothing to guess from."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Keys:
    """The keys of one kind, each written as itself or as `sha256:<hex>` of itself. Raises ValueError."""

    def __init__(self, written: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in written]

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def fingerprints(self) -> frozenset[str]:
        """The fingerprints of all keys."""
        return frozenset(fingerprint(digest) for digest in self._digests)

    def find(self, given: str) -> str | None:
        """The fingerprint of the key that `given` is, fit for a log; None for an unknown key."""
        return self.find_digest(digest_of(given))

    def find_digest(self, digest: bytes) -> str | None:
        """The same for the `digest_of` what was given.

        Compared in constant time and against every key, so that the time says nothing.
        """
        found = None
        for known in self._digests:
            if hmac.compare_digest(known, digest):
                found = fingerprint(known)
        return found


def digest_of(given: str) -> bytes:
    """The SHA-256 of a credential, whatever characters it has."""
    return sha256(given.encode(errors="surrogatepass")).digest()


def hashed(key: str) -> str:
    """A key as settings may hold it, so that reading the settings does not reveal it."""
    return DIGEST_PREFIX + sha256(key.encode()).hexdigest()


def fingerprint(digest: bytes) -> str:
    """Enough of a digest to tell keys apart in a log."""
    return digest.hex()[:8]


def _digest(written: str) -> bytes:
    if not written.startswith(DIGEST_PREFIX):
        return sha256(written.encode()).digest()
    if not _DIGEST.fullmatch(written):
        raise ValueError(
            "A hashed key is written sha256: and 64 hexadecimal digits, as `aerostack key` prints it."
        )
    return bytes.fromhex(written[len(DIGEST_PREFIX) :])
