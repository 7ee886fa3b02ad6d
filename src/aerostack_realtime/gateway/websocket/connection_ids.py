"""The ids of connections."""

import secrets
from collections.abc import Iterator
from typing import Final

ID_CHARACTERS: Final = 16
"""Of a connection's id: 96 random bits."""
_AT_ONCE: Final = 64
"""Ids made of one block of random bytes: asking the system for each is a system call per connect."""


def _ids() -> Iterator[str]:
    """Ids without an end."""
    while True:
        block = secrets.token_urlsafe(ID_CHARACTERS * 3 // 4 * _AT_ONCE)
        yield from (block[at : at + ID_CHARACTERS] for at in range(0, len(block), ID_CHARACTERS))


new_id: Final = _ids().__next__
"""Another id."""
