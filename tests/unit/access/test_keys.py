"""API keys: written plainly or as digests, several of a kind."""

import pytest

from aerostack_realtime.access.keys import Keys, hashed


def test_a_key_is_found_however_it_is_written() -> None:
    keys = Keys(["as-plain-text", hashed("as-a-digest")])
    assert keys.find("as-plain-text")
    assert keys.find("as-a-digest")
    assert keys.find("as-plain-text") != keys.find("as-a-digest")
    assert len(keys) == 2


@pytest.mark.parametrize("given", ["", "as-a-diges", "as-a-digest ", "AS-A-DIGEST", "é", "\ud800", "x" * 100_000])
def test_nothing_else_is_one(given: str) -> None:
    assert Keys(["as-plain-text", hashed("as-a-digest")]).find(given) is None


def test_the_digest_itself_is_not_a_key() -> None:
    """Who reads the settings does not have the key."""
    assert Keys([hashed("as-a-digest")]).find(hashed("as-a-digest")) is None


def test_a_fingerprint_is_not_the_key() -> None:
    found = Keys(["as-plain-text"]).find("as-plain-text")
    assert found is not None
    assert len(found) == 8


@pytest.mark.parametrize("written", ["sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "A" * 64])
def test_a_digest_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        Keys([written])
