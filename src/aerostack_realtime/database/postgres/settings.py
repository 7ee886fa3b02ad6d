"""The settings of a PostgreSQL database: `[postgres]` in aerostack.toml."""

import re
from typing import Final

from msgspec import Struct

SILENCE_SECONDS: Final = 30.0
"""Seconds without a reply that is due, after which the server counts as unreachable."""

_SLOT: Final = re.compile("[a-z0-9_]{1,63}")


_BOUNDS: Final = (
    ("resume_seconds", 0, 31_536_000),
    ("resume_bytes", 0, 1 << 60),
    ("log_bytes", 0, 1 << 40),
    ("pool", 1, 1_000),
    ("nodes", 1, 100),
    ("statement_seconds", 0, 86_400),
    ("silence_seconds", 0.1, 3_600),
)


class PostgresSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a server uses its PostgreSQL database."""

    slot: str | None = None
    """The replication slot of this server or cluster. If not set: `aerostack_` and the name of the database."""
    publication: str = "aerostack"
    """The publication of this server or cluster."""
    resume_seconds: float = 900.0
    """Seconds of row changes that PostgreSQL keeps for clients that resume, also over a restart."""
    resume_bytes: int = 1 << 30
    """Bytes of log that PostgreSQL keeps for it at most."""
    log_bytes: int = 64 << 20
    """Bytes of the newest row changes that are also kept in memory."""
    pool: int = 8
    """Connections that run queries."""
    statement_seconds: float = 30.0
    """A statement that takes longer is cancelled."""
    silence_seconds: float = SILENCE_SECONDS
    """Seconds without any reply before PostgreSQL counts as unreachable."""
    nodes: int = 1
    """Nodes of the cluster; `aerostack check` verifies that PostgreSQL has WAL senders and slots for them."""
    query_role: str | None = None
    """The role that queries run as, if it is not the role of the address."""

    def __post_init__(self) -> None:
        if self.slot is not None and not _SLOT.fullmatch(self.slot):
            raise ValueError("slot is 1 to 63 of a-z, 0-9 and _, as PostgreSQL names slots")
        for name in ("publication", "query_role"):
            value = getattr(self, name)
            if value is not None and ("\0" in value or not 1 <= len(value.encode()) <= 63):
                raise ValueError(f"{name} is a name of 1 to 63 bytes")
        for name, least, most in _BOUNDS:
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is a number from {least:g} to {most:_}")
