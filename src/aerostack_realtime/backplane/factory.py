"""Which engine of the journal an address names. That of Redis is imported for a cluster only."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from aerostack_realtime.backplane.base import Epochs, Generations, Journal, JournalUnusable
from aerostack_realtime.backplane.memory import HighWater, MemoryJournal
from aerostack_realtime.backplane.redis.address import is_redis_url, parse_address
from aerostack_realtime.backplane.redis.settings import DEFAULTS, RedisSettings

MEMORY: Final = "memory"


def check_backplane(url: str, *, clustered: bool) -> None:
    """Whether a journal could be opened at `url`, as far as the address tells. `clustered` is whether the database
    can decide for several nodes. Raises JournalUnusable."""
    if url == MEMORY:
        return
    if not is_redis_url(url):
        raise JournalUnusable(
            "The backplane is `memory` (one node), or the address of a Redis: redis://, rediss://, unix:// or "
            "redis+sentinel://."
        )
    parse_address(url)
    if not clustered:
        raise JournalUnusable(
            'Several nodes need PostgreSQL: set database = "postgresql://…", or leave the backplane out.'
        )


async def problems(url: str, *, name: str) -> list[str]:
    """What is wrong with the server at an address that passed `check_backplane`; `name` is that of the journal."""
    if url == MEMORY:
        return []
    from aerostack_realtime.backplane.redis import check as redis_check
    from aerostack_realtime.backplane.redis.scripts import Keys

    address = parse_address(url)
    return await redis_check.problems(address, Keys.of(name, address.database))


def open_journal(
    url: str,
    *,
    arbiter: Generations | None,
    store: HighWater,
    now: Callable[[], int],
    epochs: Epochs,
    node: str | None = None,
    redis: RedisSettings = DEFAULTS,
) -> Journal:
    """A journal that is not started yet. Call it on the event loop.

    `arbiter` is None when the database is not PostgreSQL. `store` and `epochs` serve the memory journal; `node`
    names this start of this node, for an arbiter that has to know it. `now` is the wall clock in µs since the Unix
    epoch. Raises JournalUnusable with one sentence that says what to do, and quotes no password.
    """
    check_backplane(url, clustered=arbiter is not None)
    if arbiter is None or url == MEMORY:
        return MemoryJournal(store=store, now=now, epochs=epochs)
    from aerostack_realtime.backplane.redis.journal import RedisJournal

    return RedisJournal(parse_address(url), arbiter, node or secrets.token_hex(8), settings=redis, now=now)


def shown(url: str) -> str:
    """The address as it may be printed: without credentials."""
    return str(parse_address(url)) if is_redis_url(url) else url
