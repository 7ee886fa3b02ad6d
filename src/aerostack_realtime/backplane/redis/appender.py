"""What waits to be appended: items become batches, batches are appended one at a time, in order.

A batch stays here until it was read back from the log. So whatever happens to an answer, a connection or a
server, what the log lacks is known once the log was read to its end, and is appended again under its number; a
batch that is there after all enters once, by that number (`reader.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from aerostack_realtime.backplane.items import OPTIONAL, SIGNS, AnyItem, Publish, decode_batch, decode_item
from aerostack_realtime.backplane.redis import scripts
from aerostack_realtime.backplane.redis.connection import Connection, ConnectionLost, Part, Reply, ServerError
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable

log = logging.getLogger(__name__)

BATCH_ITEMS: Final = 2_000
BATCH_BYTES: Final = 256 * 1024
"""A batch is a step that stops Redis for a moment: 256 KiB take it about 0.1 ms."""
RETRY_SECONDS: Final = 0.1
"""How soon a batch is offered again to a server that refused it for now: out of memory, too few replicas."""
WITHDRAW_SECONDS: Final = 2.0
"""How long a batch is refused before its publishers are answered; as long as a node waits that is cut off."""
LONE_SECONDS: Final = 0.002
"""An item that comes alone is appended at once if nothing was for this long. On a busier node others are likely to
follow in the same iteration of the event loop, and share its batch."""
CALM_SECONDS: Final = 5.0
"""How long nothing may be refused until a trouble is over: a full server takes a batch now and then."""

_encode: Final = msgspec.msgpack.Encoder().encode
_FULL: Final = "Redis is out of memory, so nothing can be published now; retry in a moment."
FULL: Final = (
    "Redis is out of memory and refuses publishes. The journal is trimmed to its newest 30 seconds meanwhile; "
    "raise the maxmemory of Redis, or remove other data from it."
)
"""For operators."""
_WAITING: Final = "Too many messages wait for the journal; retry in a moment."


class _Batch(Struct):
    """`position` is what the server answered; 0 until then, and for an answer that was lost."""

    sequence: int
    items: int
    blob: bytes
    position: int = 0
    may_exist: bool = False
    """Whether an attempt to append it may have succeeded: it was answered by an error each time otherwise."""
    others_first: bool = True
    """Whether the other nodes are to get it before this one."""


class Target(Struct, frozen=True):
    """Where batches go, and the channel on which they are published as well, empty for none. `abandon` is called
    when the server cannot be used any more, with the reason."""

    connection: Connection
    keys: scripts.Keys
    generation: int
    channel: str
    abandon: Callable[[str], None]


class Appender:
    """Appends what `append` is given. Synchronous, but for the answers of the server that come later.

    `mark` is the high-water mark of positions, `floor` what the log is trimmed to at the next append.
    """

    def __init__(
        self,
        node: str,
        *,
        max_bytes: int,
        headroom: int,
        withdraw_seconds: float = WITHDRAW_SECONDS,
        lone_seconds: float = LONE_SECONDS,
    ) -> None:
        self._node = node
        self._max_bytes = max_bytes
        self._headroom = str(headroom)
        self._withdraw_seconds = withdraw_seconds
        self._lone_seconds = lone_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Raw, bool]] = deque()
        """Encoded items, and whether other nodes may skip them."""
        self._unconfirmed: deque[_Batch] = deque()
        self._unsent: deque[_Batch] = deque()
        self._bytes = 0
        self._sequence = 0
        self._target: Target | None = None
        self._flying: _Batch | None = None
        self._concerns_others = False
        """Whether other nodes do something with what waits. With a publish that is to be stored they wait for its
        Settle."""
        self._scheduled = False
        self._sent_at = 0.0
        self._drained: asyncio.Future[None] | None = None
        self.refusal: AerostackError | None = None
        """Why the server takes nothing for now; None while it does."""
        self.out_of_memory = False
        self._trouble = ""
        """What was logged of the server's last refusal, until nothing has been refused for a while."""
        self._calm: asyncio.TimerHandle | None = None
        self._refused_at: float | None = None
        """Since when the batch under way is refused, until its publishers are answered."""
        self.withdraw: Callable[[Sequence[AnyItem], AerostackError], Collection[int]] = lambda _items, _error: ()
        """`JournalListener.refused`; set it before the first `attach`."""
        self.mark = 0
        self.floor = 0
        self._offered_floor = self._trimmed = 0
        """The floor that came with the newest append, and that of the newest append that was answered."""
        self.batches = 0
        self.batch_bytes = 0
        """Bytes of all batches together."""

    @property
    def backlog(self) -> int:
        """How much was accepted and not read back yet."""
        return self._bytes

    def append(self, item: AnyItem, *, alone: bool = False) -> None:
        """`alone`: nothing else comes in this step. Raises Overloaded or Unavailable; then the item is never
        appended."""
        if self.refusal is not None and (self._flying is not None or not isinstance(item, SIGNS)):
            raise type(self.refusal)(self.refusal.message)  # a sign of life finds out whether that still holds
        if self._bytes >= self._max_bytes:
            raise Overloaded(_WAITING)
        if not isinstance(item, Publish) or not item.persist:
            self._concerns_others = True
        encoded = _encode(item)
        self._bytes += len(encoded)
        self._waiting.append((Raw(encoded), isinstance(item, OPTIONAL)))
        if self._flying is not None or self._scheduled or self._target is None:
            return
        if alone and self._loop.time() - self._sent_at >= self._lone_seconds:
            self._send()
        else:
            self._scheduled = True
            self._loop.call_soon(self._start)  # what the same step appends goes into the same batch

    def confirmed(self, sequence: int) -> None:
        """The batch was read back, and with it every earlier one that is in the log at all."""
        unconfirmed = self._unconfirmed
        while unconfirmed and unconfirmed[0].sequence <= sequence:
            self._bytes -= len(unconfirmed.popleft().blob)

    def unreadable(self, since: int, until: int) -> list[tuple[int, bytes]]:
        """The batches, by position, that were appended in this range and cannot be read back: the log was trimmed
        before this node had read them. They are confirmed by this."""
        found: list[tuple[int, bytes]] = []
        unconfirmed = self._unconfirmed
        while unconfirmed and since < unconfirmed[0].position <= until:
            batch = unconfirmed.popleft()
            self._bytes -= len(batch.blob)
            found.append((batch.position, batch.blob))
        return found

    def attach(self, target: Target) -> None:
        """Append to this server from now on, first what the log lacks. It must have been read to its end."""
        self._target = target
        self._trimmed = 0
        self._unsent = deque(self._unconfirmed)
        for batch in self._unsent:
            batch.may_exist = True
        self._send()

    def detach(self) -> None:
        """Stop appending. Whether the batch under way was appended shows when the log is read."""
        self._target = None
        self._flying = None
        self._accept()
        self._stay_troubled()
        self._trouble = ""

    async def drain(self) -> None:
        """Return when all is appended, or there is no server to append to."""
        while self._target is not None and (self._waiting or self._unsent or self._flying is not None):
            self._drained = self._loop.create_future()
            await self._drained

    def _start(self) -> None:
        self._scheduled = False
        self._send()

    def _send(self) -> None:
        target = self._target
        if target is None or self._flying is not None:
            return
        batch = self._next()
        if batch is None:
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
            return
        self._flying = batch
        self._refused_at = None
        self._sent_at = self._loop.time()
        self.batches += 1
        self.batch_bytes += len(batch.blob)
        self._transmit(target, batch, "EVALSHA", scripts.APPEND.digest)

    def _transmit(self, target: Target, batch: _Batch, *command: str) -> None:
        self._offered_floor = self.floor
        floor = 0 if self.floor == self._trimmed else self.floor
        parts: tuple[Part, ...] = (
            *command,
            "2",
            target.keys.log,
            target.keys.head,
            str(target.generation),
            str(batch.items),
            batch.blob,
            str(self.mark),
            self._headroom,
            str(floor),
            target.channel,
        )
        # This node knows what it appends: the nodes that wait for its entry come first. What is to be stored waits
        # for this node.
        published = target.channel != "" and batch.others_first and len(batch.blob) <= scripts.PUBLISHED_BYTES
        target.connection.send(lambda reply: self._answered(target, batch, reply), *parts, others_first=published)

    def _answered(self, target: Target, batch: _Batch, reply: Reply) -> None:
        if self._target is not target:
            return
        if not isinstance(reply, ServerError | ConnectionLost):
            self._flying = None
            batch.position = reply
            self._trimmed = self._offered_floor
            if self.refusal is not None:
                self._accept()
                self._calm = self._loop.call_later(CALM_SECONDS, self._calmed)
            self._send()
            return
        if isinstance(reply, ConnectionLost):
            self._abandon(target, str(reply))
            return
        match reply.code:
            case "NOSCRIPT":
                self._transmit(target, batch, "EVAL", scripts.APPEND.source)
            case scripts.GENERATION:
                self._abandon(target, "another generation of the journal has begun there")
            case "READONLY":
                self._abandon(target, "it has become a replica")
            case _:
                self._refused(target, batch, reply)

    def _refused(self, target: Target, batch: _Batch, error: ServerError) -> None:
        """The server wrote nothing and may take it later."""
        words = str(error)
        self.out_of_memory = "OOM" in words
        trouble, reason = error.code, f"the journal cannot be appended to: {words[:200]}"
        if self.out_of_memory:
            self.refusal, trouble, reason = Overloaded(_FULL), _FULL, FULL
        elif error.code == scripts.MARK:
            self.refusal = Unavailable(
                "The database that keeps the journal's high-water mark is out of reach; retry in a moment."
            )
        else:
            self.refusal = Unavailable(f"Redis refuses to write ({words[:120]}); retry in a moment.")
        self._stay_troubled()
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s", reason)
        if self._refused_at is None:
            self._refused_at = self._loop.time()
        elif self._loop.time() - self._refused_at >= self._withdraw_seconds and not batch.may_exist:
            self._refused_at = float("inf")
            if not self._keeps(batch, self.refusal):
                self._flying = None
                self._send()
                return
        self._loop.call_later(RETRY_SECONDS, self._retry, target, batch)

    def _keeps(self, batch: _Batch, error: AerostackError) -> bool:
        """Let the listener refuse items of a batch that is not in the log, and of what waits behind it, to their
        publishers. Whether anything of the batch is left."""
        items = decode_batch(batch.blob).items
        withdrawn = self.withdraw([*items, *(decode_item(raw) for raw, _ in self._waiting)], error)
        if not withdrawn:
            return True
        waiting, self._waiting = self._waiting, deque()
        for index, (raw, is_optional) in enumerate(waiting, len(items)):
            if index in withdrawn:
                self._bytes -= len(raw)
            else:
                self._waiting.append((raw, is_optional))
        kept = [item for index, item in enumerate(items) if index not in withdrawn]
        self._bytes -= len(batch.blob)
        if not kept:
            assert self._unconfirmed.pop() is batch, "the newest batch is the only one that no server has"
            return False
        optional = [index for index, item in enumerate(kept) if isinstance(item, OPTIONAL)]
        batch.items, batch.blob = len(kept), _encode((self._node, batch.sequence, kept, optional))
        self._bytes += len(batch.blob)
        return True

    def _accept(self) -> None:
        self.refusal = None
        self.out_of_memory = False

    def _stay_troubled(self) -> None:
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None

    def _calmed(self) -> None:
        self._trouble = ""
        self._calm = None
        log.info("the journal can be appended to again")

    def _retry(self, target: Target, batch: _Batch) -> None:
        if self._target is target and self._flying is batch:
            self._transmit(target, batch, "EVALSHA", scripts.APPEND.digest)

    def _abandon(self, target: Target, reason: str) -> None:
        self.detach()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        target.abandon(reason)

    def _next(self) -> _Batch | None:
        if self._unsent:
            return self._unsent.popleft()
        if not self._waiting:
            return None
        waiting = self._waiting
        items: list[Raw] = []
        optional: list[int] = []
        size = 0
        while waiting and len(items) < BATCH_ITEMS and (not items or size + len(waiting[0][0]) <= BATCH_BYTES):
            item, is_optional = waiting.popleft()
            if is_optional:
                optional.append(len(items))
            size += len(item)
            items.append(item)
        self._sequence += 1
        batch = _Batch(self._sequence, len(items), _encode((self._node, self._sequence, items, optional)))
        self._bytes += len(batch.blob) - size
        batch.others_first = self._concerns_others
        if not waiting:
            self._concerns_others = False
        self._unconfirmed.append(batch)
        return batch
