"""The kinds of database that the program offers: which one an address names, how to open it, how to check it.

A kind is imported when an address names it: PostgreSQL's takes a sixth of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from msgspec import Struct

from aerostack_realtime.database.base import ChangeListener, Database, DatabaseUnusable
from aerostack_realtime.database.message_store import Retention
from aerostack_realtime.database.postgres.connection import address as postgres_address

if TYPE_CHECKING:
    from aerostack_realtime.database.postgres.settings import PostgresSettings


class Sections(Protocol):
    """The sections of the settings that backends read, one for each that has any."""

    @property
    def postgres(self) -> PostgresSettings: ...


class Opening(Struct, frozen=True):
    """What `open_database` was asked for."""

    address: str
    listener: ChangeListener
    sections: Sections
    retention: Sequence[Retention]
    node: str | None
    follow: bool


class Claim(Protocol):
    """The right to be the only server of a database, until its block ends."""

    def announce(self, url: str) -> None:
        """Name the server's address to a second server that wants the database."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Backend(Struct, frozen=True):
    """One kind of database. A new kind is one entry in `BACKENDS`.

    `accepts` says whether an address names such a database, `shown` is the address as it may be printed, `open`
    opens it as `open_database` says, and `check`
    lists what is wrong with it, each with its fix. `creates` says whether a server would create the database,
    `file` whether it is a SQLite file, and `claim` makes the caller its only server. All raise DatabaseUnusable
    with one sentence that says what to do.
    """

    accepts: Callable[[str], bool]
    shown: Callable[[str], str]
    open: Callable[[Opening], Awaitable[Database]]
    check: Callable[[str, Sections], Awaitable[list[str]]]
    creates: Callable[[str], bool]
    file: bool
    claim: Callable[[str], Claim]


async def _open_postgres(wanted: Opening) -> Database:
    from aerostack_realtime.database.postgres.database import PostgresDatabase

    return await PostgresDatabase.open(
        wanted.address,
        wanted.listener,
        retention=wanted.retention,
        settings=wanted.sections.postgres,
        node=wanted.node,
        follow=wanted.follow,
    )


async def _check_postgres(address: str, sections: Sections) -> list[str]:
    from aerostack_realtime.database.postgres import diagnostics

    settings = sections.postgres
    found = await diagnostics.diagnose(
        address,
        slot=settings.slot,
        publication=settings.publication,
        resume_bytes=settings.resume_bytes,
        nodes=settings.nodes,
    )
    return [str(problem) for problem in found]


async def _open_sqlite(wanted: Opening) -> Database:
    from aerostack_realtime.database.sqlite.database import SqliteDatabase

    if wanted.node is not None:
        raise DatabaseUnusable(
            "A cluster needs PostgreSQL: a SQLite file serves one node. Set database, or no backplane."
        )
    if not wanted.follow:
        await _check_sqlite(wanted.address, wanted.sections)
    return await SqliteDatabase.open(wanted.address, wanted.listener, retention=wanted.retention)


async def _check_sqlite(address: str, _sections: Sections) -> list[str]:
    """A command works on a file that exists; only a server creates one."""
    if not await asyncio.to_thread(Path(address).exists):
        raise DatabaseUnusable(f"There is no database at {address}; name it with --db.")
    return []


def _claim_sqlite(path: str) -> Claim:
    from aerostack_realtime.database.sqlite.lock import ServerLock

    return ServerLock(Path(path))


class _Unclaimed(AbstractContextManager["_Unclaimed"]):
    """A second server of a PostgreSQL database waits for the replication slot when it opens the database."""

    def announce(self, url: str) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


BACKENDS: Final = (
    Backend(
        accepts=postgres_address.names_server,
        shown=postgres_address.shown,
        open=_open_postgres,
        check=_check_postgres,
        creates=lambda _: False,
        file=False,
        claim=lambda _: _Unclaimed(),
    ),
    Backend(
        accepts=lambda _: True,
        shown=lambda path: path,
        open=_open_sqlite,
        check=_check_sqlite,
        creates=lambda path: not Path(path).exists(),
        file=True,
        claim=_claim_sqlite,
    ),
)
"""In the order in which they are asked: an address that no other backend accepts is the path of a SQLite file."""


def backend_of(address: str) -> Backend:
    """The backend of an address."""
    return next(backend for backend in BACKENDS if backend.accepts(address))


def shown(address: str) -> str:
    """The address as it may be printed: without a password. Raises DatabaseUnusable."""
    return backend_of(address).shown(address)


def claim(address: str) -> Claim:
    """Become the only server of a database. Raises DatabaseUnusable when a SQLite file has a server already."""
    return backend_of(address).claim(address)


async def open_database(
    address: str,
    listener: ChangeListener,
    sections: Sections,
    *,
    retention: Sequence[Retention] = (),
    node: str | None = None,
    follow: bool = True,
) -> Database:
    """Open the database that an address names; as `node` of a cluster, a name that is unique over all nodes and
    their starts; without `follow`, for a command that receives no changes.

    Raises DatabaseUnusable with one sentence that says what to do.
    """
    wanted = Opening(address, listener, sections, retention, node, follow)
    return await backend_of(address).open(wanted)
