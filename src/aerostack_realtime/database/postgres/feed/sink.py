"""The receiver of what the WAL consumer reads, and what the consumer asks of PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from aerostack_realtime.database.postgres.feed.epochs import Epochs, Position
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.publication import Publication
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage

Result = TypeVar("Result")

PREFIX: Final = "aerostack"
"""The prefix of our own messages in the WAL; `aerostack.<kind>` is an announcement."""


class ChangeSink(Protocol):
    """Receives what was committed, in the order of commits. Only `async` methods may wait; they raise
    AerostackError to make the consumer reconnect."""

    async def reconnect(self, prepare: Callable[[], Awaitable[Result]]) -> Result:
        """Run `prepare`, which creates the publication and the slot where they are missing, then read what is in
        the publication; nobody else changes it meanwhile."""

    def epoch_started(self, epochs: Epochs, start: Position, *, discontinuous: bool) -> None:
        """The epochs that are valid from here on. `discontinuous`: what follows does not continue what came before
        `start`."""

    async def table_described(self, table: LoggedTable) -> None:
        """The definition of a table for the changes that follow."""

    async def types_changed(self, entry: Entry) -> bool:
        """The next change has values that its table's types do not print: they were altered. Whether it can be
        converted now; else it is skipped, and a gap covers it."""

    def committed(self, entries: list[Entry], position: Position, xids: list[tuple[int, int]]) -> None:
        """Changes in their order, after which the log stands at `position`; and the transactions that ended: their
        numbers and positions."""

    def opaque_change(self, relations: tuple[int, ...], position: Position) -> None:
        """Tables changed in a way that cannot be reported row by row."""

    def emitted(self, message: LogicalMessage) -> None:
        """A message by pg_logical_emit_message that is not ours alone."""


def stream_options(publication: Publication, version: int) -> dict[str, str]:
    """Options of the output plugin: the newest protocol that both the server's version and this program speak."""
    options = {"proto_version": "1", "publication_names": publication.quoted}
    if version >= 140000:
        options |= {"proto_version": "2", "streaming": "on", "messages": "on"}
    return options
