"""The documents of this node: kept short, and read for clients that speak y-websocket."""

import time
from collections.abc import Sequence

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.documents.compactor import Compactor, DocumentRule
from aerostack_realtime.documents.process import DocumentWorker
from aerostack_realtime.documents.reading import stored_messages
from aerostack_realtime.documents.requests import Answer, IsNews, Merge, Merged, News
from aerostack_realtime.protocol.errors import BadMessage


class Documents:
    """The documents that `rules` name."""

    def __init__(self, rules: Sequence[DocumentRule], hub: Hub, store: MessageStore) -> None:
        self._hub = hub
        self._store = store
        self._worker = DocumentWorker()
        self.compactor = Compactor(rules, hub, store, self._worker, time.monotonic, _now_ms)
        hub.follow(self.compactor)

    def has(self, topic: str) -> bool:
        """Whether a canonical topic is a document."""
        return self.compactor.rule(topic) is not None

    async def state_vector(self, topic: str) -> bytes:
        """What the server has of a document. Raises BadMessage for one that cannot be read, and Unavailable."""
        found = await self._worker.ask(Merge(await stored_messages(self._hub, self._store, topic)))
        if isinstance(found, Merged):
            return found.state_vector
        raise _unreadable(found)

    async def is_news(self, topic: str, update: bytes) -> bool:
        """Whether an update has anything that a document lacks. Raises as `state_vector`."""
        found = await self._worker.ask(IsNews(await stored_messages(self._hub, self._store, topic), update))
        if isinstance(found, News):
            return found.is_news
        raise _unreadable(found)

    async def run(self) -> None:
        """Keep documents short, until cancelled."""
        try:
            await self.compactor.run()
        finally:
            await self._worker.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _unreadable(answer: Answer) -> BadMessage:
    reason = getattr(answer, "reason", "")
    return BadMessage(f"The document cannot be read, and is kept as it is. Restore it from a backup ({reason}).")
