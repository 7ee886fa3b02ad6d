"""What is watched: names, the tables that have them now, and from which position on their changes are complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from msgspec import Struct

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.publication import Columns, Publication, Watched
from aerostack_realtime.protocol.errors import AerostackError, NotFound

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Watch(Struct):
    """A watched name: the table that has it (None: no table does), the OIDs of it and its partitions, and its
    columns.

    `start` is the position after which its changes are complete, `readable` the one after which the changes in the
    log convert by the table's definition of now. `since` is what the database has as its start.
    """

    relation: int | None
    parts: frozenset[int]
    columns: Columns
    start: Position
    readable: Position
    since: Position


class Watches:
    """`read_types` reads the types with these OIDs, and says whether one was altered. `interrupted` is called
    when a name's changes continue from another position, `forgotten` when no name watches a table any more."""

    def __init__(
        self,
        publication: Publication,
        read_types: Callable[[Iterable[int]], Awaitable[bool]],
        interrupted: Callable[[str, Watch], None],
        forgotten: Callable[[int], None],
    ) -> None:
        self._publication = publication
        self._read_types = read_types
        self._interrupted = interrupted
        self._forgotten = forgotten
        self._watches: dict[str, Watch] = {}
        self._names: dict[int, list[str]] = {}
        self._relations: dict[int, list[int]] = {}
        self._reported: dict[str, str] = {}
        """The errors that were logged for names; the repair is retried at every poll."""
        self._changing = asyncio.Lock()
        self.read_at = 0
        """Where the WAL stood when the catalogs, and then the types, were last read: what was committed before it
        is converted by types as they were at its commit or later."""

    def find(self, name: str) -> Watch | None:
        """The watch of a name whose table exists."""
        watch = self._watches.get(name)
        return None if watch is None or watch.relation is None else watch

    def get(self, name: str) -> Watch:
        """Raises NotFound."""
        watch = self.find(name)
        if watch is None:
            raise NotFound(f"There is no table {name!r}, or it is not watched. Subscribe again.")
        return watch

    def start(self, name: str, position: Position) -> Position:
        """The position after which a name's changes are complete, at least `position`."""
        watch = self._watches.get(name)
        return position if watch is None else max(position, watch.start)

    def names(self, relation: int) -> Sequence[str]:
        """The names that watch a table, on its own or as a partition."""
        return self._names.get(relation, ())

    def relations(self, relation: int) -> Sequence[int]:
        """The watched tables that contain a table's rows: itself, and those that it is a partition of."""
        return self._relations.get(relation, ())

    async def watch(self, name: str) -> None:
        """Raises as `Publication.watch`."""
        async with self._changing:
            if self.find(name) is None:
                await self._refresh()  # another node may have watched it
            if self.find(name) is None:
                await self._publication.watch(name)
                await self._refresh()

    async def unwatch(self, name: str) -> None:
        """Raises NotFound, Unavailable."""
        async with self._changing:
            await self._publication.unwatch(name)
            self._drop(name)

    async def refresh(self) -> None:
        """Read what is watched, repair it, and report tables that were altered, replaced or dropped.

        Raises Unavailable.
        """
        async with self._changing:
            await self._refresh()

    async def reconnect(self, prepare: Callable[[], Awaitable[Result]]) -> Result:
        """Run `prepare`, which may create the publication and the slot, then refresh.

        Nobody else changes the publication meanwhile: a table that was added to it before the slot exists would
        lose its changes in between. Raises Unavailable, and what `prepare` raises.
        """
        async with self._changing:
            result = await prepare()
            await self._refresh()
            return result

    def interrupt(self, relation: int) -> None:
        """A table's changes are not complete up to now."""
        for name in self.names(relation):
            self._interrupted(name, self._watches[name])

    def restart_all(self) -> None:
        """No table's changes are complete up to now. The log is another one, which may have been restored: where
        changes of the one before were complete says nothing about it."""
        for name, watch in self._watches.items():
            watch.start = watch.readable = watch.since
            self._interrupted(name, watch)

    def restart(self, relation: int, position: Position, until: Position) -> None:
        """A change at `position` cannot be converted: the table's changes are complete only after `until`."""
        for name in self.names(relation):
            watch = self._watches[name]
            if watch.start < position:
                watch.start = watch.readable = until
                self._interrupted(name, watch)

    def altered(self, relation: int, columns: Columns) -> None:
        """The changes that follow were made in a table with these columns."""
        for name in self.names(relation):
            watch = self._watches[name]
            if set(watch.columns) != set(columns):  # a partition may have them in another order
                watch.columns = columns
                self._interrupted(name, watch)

    async def _refresh(self) -> None:
        found = await self._publication.refresh()
        wrong = [
            each.name
            for each in found
            if each.relation is not None and not (each.complete and each.relation == each.before)
        ]
        self._reported = {name: said for name, said in self._reported.items() if name in wrong}
        for name in wrong:
            await self._repair(name)
        if wrong:
            found = await self._publication.refresh()
        read_at = self._publication.read_at
        if await self._read_types({oid for watched in found for _, oid in watched.columns}):
            found = await self._publication.refresh()
        self.read_at = read_at
        for name in self._watches.keys() - {watched.name for watched in found}:
            self._drop(name)
        for watched in found:
            self._compare(watched)

    async def _repair(self, name: str) -> None:
        """Watch a table that took over a watched name, or whose old rows are not in the WAL."""
        try:
            await self._publication.watch(name)
        except AerostackError as error:
            if self._reported.get(name) != error.message:
                log.error("row changes of %s cannot be captured until this is fixed: %s", name, error.message)
            self._reported[name] = error.message

    def _compare(self, watched: Watched) -> None:
        relation = watched.relation if watched.complete else None
        start = Position(watched.since, 0)
        known = self._watches.get(watched.name)
        if known is None:
            self._watches[watched.name] = Watch(relation, watched.parts, watched.columns, start, start, start)
            self._index()
            return
        if start < known.since:  # it only grows, so this is the start of a backup that was restored
            known.start = known.readable = start
        known.since = start
        if (
            (known.relation, known.parts) != (relation, watched.parts)
            or set(known.columns) != set(watched.columns)
            or known.start < start
        ):
            if known.relation is None and relation is None:
                return
            known.parts = watched.parts
            known.columns = watched.columns
            known.relation = relation
            known.start = max(known.start, start)
            known.readable = max(known.readable, start)
            self._index()
            self._interrupted(watched.name, known)

    def _drop(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        self._index()
        if (
            watch is not None
            and watch.relation is not None
            and watch.relation not in self.relations(watch.relation)
        ):
            self._forgotten(watch.relation)

    def _index(self) -> None:
        self._names, self._relations = {}, {}
        for name, watch in self._watches.items():
            if watch.relation is None:
                continue
            for part in watch.parts:
                self._names.setdefault(part, []).append(name)
                relations = self._relations.setdefault(part, [])
                if watch.relation not in relations:
                    relations.append(watch.relation)
