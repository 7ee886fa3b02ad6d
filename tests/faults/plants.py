"""Bugs that a run can give to all nodes, to see that the suite finds them: each replaces a function or two.

`kinds` are the faults under which a bug shows.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.backplane.redis import scripts
from aerostack_realtime.backplane.redis.journal import RedisJournal
from aerostack_realtime.backplane.redis.reader import LogReader
from aerostack_realtime.channels.cluster import Cluster
from aerostack_realtime.channels.custom.log import Log
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.custom.receipts import Receipts
from aerostack_realtime.database.message_store import NewMessage, Stored, StoredMessage
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.messages.store import PostgresMessageStore
from tests.faults.plan import FaultKind

COMMIT_DELAY_SECONDS: Final = 0.05
"""The wait of a message for its commit where the licence is not checked: then one is always under way."""
_AGAIN: Final = """
redis.call('XADD', KEYS[1], text(position + count) .. '-0',
  'g', ARGV[1], 'p', text(position + count - 1), 'n', ARGV[2], 'a', at, 'b', ARGV[3])
redis.call('HSET', KEYS[2], 'l', text(position + 2 * count - 1))
return position
"""


PARTS: Final = 6
"""Of the message by which an entry is published."""


class Plant(Struct, frozen=True):
    """`plant` changes the code of this process."""

    plant: Callable[[], None]
    kinds: tuple[FaultKind, ...]


def _replace(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
    """Put what `made` makes of a function in the function's place."""
    setattr(owner, name, made(getattr(owner, name)))


def _append_twice() -> None:
    """Each batch is in the log twice, and the other nodes recognize neither the batch nor its publishes."""
    scripts.APPEND = scripts.Script.of(scripts.APPEND.source.replace("return position\n", _AGAIN))  # type: ignore[misc]
    _forget_repeats()


def _forget_repeats() -> None:
    """A node recognizes neither a batch of another node nor a publish that it has seen before."""

    def repeated(original: Any) -> Any:
        return lambda self, batch: original(self, batch) and batch.node == self._node

    _replace(LogReader, "_repeated", repeated)
    _replace(Receipts, "find", lambda _: lambda _self, _key: None)


def _chain_not_looked_at() -> None:
    """A node does not notice that the log does not continue what it has read."""

    def made(original: Any) -> Any:
        def init(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            began = self._began
            self._began = lambda since, until: None if since else began(since, until)

        return init

    _replace(LogReader, "__init__", made)


def _pushed_entry_after_a_hole() -> None:
    """A published entry is taken without a look at what it continues: what came before it is never read."""

    def made(original: Any) -> Any:
        def published(self: Any, message: bytes) -> int | None:
            entry = message.split(b" ", 5)
            if len(entry) == PARTS and entry[5] and int(entry[0]) > self.last and int(entry[1]) == self.generation:
                self._enter(int(entry[0]), self.generation, self.last, int(entry[3]), int(entry[4]), entry[5])
                return len(entry[5])
            taken: int | None = original(self, message)
            return taken

        return published

    _replace(LogReader, "published", made)


def _pushed_entry_again() -> None:
    """A published entry of another node enters twice; neither its batch nor its publishes are recognized."""

    def made(original: Any) -> Any:
        def published(self: Any, message: bytes) -> int | None:
            taken: int | None = original(self, message)
            if taken is not None:
                last = self.last
                self._take(last + 1, message.split(b" ", 5)[5])
                self.last = last
            return taken

        return published

    _replace(LogReader, "published", made)
    _forget_repeats()


def _announced_entry_skipped() -> None:
    """An entry that is announced without its batch, because that is large, counts as taken, and is never read."""

    def made(original: Any) -> Any:
        def published(self: Any, message: bytes) -> int | None:
            taken: int | None = original(self, message)
            entry = message.split(b" ", 5)
            if taken is None and entry[0] and not entry[5] and int(entry[2]) == self.last:
                self.entry = int(entry[0])
                self.last = self.entry + int(entry[3]) - 1
                return 0
            return taken

        return published

    _replace(LogReader, "published", made)


def _newcomer_without_receipts() -> None:
    """A node that joins others does not recognize repeated publishes."""

    def made(original: Any) -> Any:
        def hello(self: Any, node: str, item: Any) -> None:
            original(self, node, item)
            if node == self._journal.node and self._expected:
                self._publishing.receipts.find = lambda _: None

        return hello

    _replace(Cluster, "hello", made)


def _settle_before_commit() -> None:
    """A message is acknowledged and delivered before it is stored."""

    def made(original: Any) -> Any:
        def append(self: Any, message: NewMessage, done: Callable[[Stored], None]) -> None:
            original(self, message, lambda _: None)
            stored = StoredMessage(
                message.topic,
                message.id,
                message.user_id,
                message.event,
                message.data,
                message.position,
                message.position // 1000,
            )
            done(Stored(stored, duplicate=False))

        return append

    _replace(PostgresMessageStore, "append", made)


def _licence_not_checked() -> None:
    """A node that was declared dead stores what the others have decided about."""

    def made(original: Any) -> Any:
        def append(self: Any, message: NewMessage, done: Any) -> None:
            asyncio.get_running_loop().call_later(COMMIT_DELAY_SECONDS, original, self, message, done)

        return append

    _replace(PostgresMessageStore, "append", made)
    _replace(PostgresMessageStore, "fence", lambda _: lambda *_: None)


def _old_cursor_accepted() -> None:
    """A cursor of a lost generation is accepted, although the logs begin again with each generation."""
    _replace(RedisJournal, "understands", lambda _: lambda *_: True)

    def made(original: Any) -> Any:
        def restart(self: Any, position: int) -> None:
            start = self.start
            original(self, position)
            self.start = start

        return restart

    _replace(Log, "restart", made)


def _death_by_wall_clock() -> None:
    """Each node decides by its own clock which nodes are dead."""

    def made(original: Any) -> Any:
        def beat(self: Any, node: str, _: int, *figures: int) -> Any:
            now = int(time.time() * 1e6)
            self._active, self._at = now, now
            return original(self, node, now, *figures)

        return beat

    _replace(Nodes, "beat", made)


def _stored_messages_forgotten() -> None:
    """After the journal lost events, the stored ones among them are not sent."""

    async def nothing(*_: Any) -> set[str]:
        return set()

    _replace(PostgresDatabase, "with_messages", lambda _: nothing)


PLANTS: Final[dict[str, Plant]] = {
    "append-twice": Plant(_append_twice, ("cut network", "kill subscriber")),
    "chain-not-looked-at": Plant(_chain_not_looked_at, ("lag way",)),
    "pushed-entry-after-a-hole": Plant(_pushed_entry_after_a_hole, ("cut way", "lag way", "silence way")),
    "pushed-entry-again": Plant(_pushed_entry_again, ("cut network", "kill subscriber")),
    "announced-entry-skipped": Plant(_announced_entry_skipped, ("cut way", "lag way", "freeze redis")),
    "newcomer-without-receipts": Plant(_newcomer_without_receipts, ("kill node", "cut network", "stall network")),
    "settle-before-commit": Plant(_settle_before_commit, ("crash postgres", "kill node", "silence link")),
    "licence-not-checked": Plant(_licence_not_checked, ("pause node",)),
    "old-cursor-accepted": Plant(_old_cursor_accepted, ("all at once",)),
    "death-by-wall-clock": Plant(_death_by_wall_clock, ("clock forward", "freeze redis")),
    "stored-messages-forgotten": Plant(_stored_messages_forgotten, ("lag way",)),
}
