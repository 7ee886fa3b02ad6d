"""Entries of the log to items, in order, each once; and where the log does not continue what came before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from aerostack_realtime.backplane.base import JournalListener, JournalUnusable
from aerostack_realtime.backplane.items import AnyItem, Batch, decode_batch
from aerostack_realtime.backplane.redis.connection import Reply

REMEMBERED_NODES: Final = 1024
"""Starts of nodes that are known by their newest batch; above this number, silent ones are forgotten."""
PUBLISHED: Final = b"B"
"""The name of an entry's last field where the entry was published as well."""
SILENT_US: Final = 600_000_000
"""A node that was silent for ten minutes of the journal's time has ended: it appended a Beat each second."""


class _Sequence(Struct):
    newest: int
    at: int


class _LooseBatch(Struct, frozen=True, array_like=True):
    """A batch with items that this version may not know."""

    node: str
    sequence: int
    items: tuple[Raw, ...]
    optional: tuple[int, ...] = ()


_decode_loose: Final = msgspec.msgpack.Decoder(_LooseBatch).decode
_items: Final[msgspec.msgpack.Decoder[AnyItem]] = msgspec.msgpack.Decoder(AnyItem)


class LogReader:
    """Reads entries that are handed to it in the order of the stream.

    `last` is the position that was handed over last, `entry` that of the newest entry: reading continues after it.
    `start` is a position from which on all belong to the present generation.
    `confirmed(sequence)` is called when a batch of `node` was read back, before its items enter. A batch that a
    node appended twice in one generation, because the answer to the first append was lost, enters once. One that
    the journal lost before its node had read it enters again in the next generation, also where it had entered:
    its events may have waited for a commit, and been dropped. `unreadable` gives the own
    batches that were trimmed before they were read: they enter from memory, so that every own item enters.
    """

    def __init__(
        self,
        node: str,
        listener: JournalListener,
        confirmed: Callable[[int], None],
        unreadable: Callable[[int, int], list[tuple[int, bytes]]],
    ) -> None:
        self._node = node
        self._entered = listener.entered
        self._began = listener.began
        self._confirmed = confirmed
        self._unreadable = unreadable
        self._sequences: dict[str, _Sequence] = {}
        self.at = 0
        self.last = 0
        self.entry = 0
        self.generation = 0
        self.start = 0
        self.items = 0
        self.unpublished_at: int | None = None
        """The journal's time of the newest entry that was not published; None where all were."""
        self.promised = 0
        """The position of the newest entry that was published and came by `read`."""
        self.heard = 0
        """The position of the newest entry that was heard of on the channel."""

    def begin(self, generation: int, last: int) -> None:
        """The first thing that is known of the log: it has everything after `last`."""
        self.generation = generation
        self.last = self.start = last
        self._began(0, last)

    def read(self, identifier: bytes, fields: list[Reply]) -> int | None:
        """Take one entry; its size in bytes, None for one that was taken when it was published. Raises
        JournalUnusable for an item that must not be skipped."""
        position = int(identifier[:-2])
        if position <= self.entry:
            return None
        _, generation, _, before, _, count, _, at, name, blob = fields
        positions = int(count)
        self._enter(position, int(generation), int(before), positions, int(at), blob)
        if name == PUBLISHED:
            self.promised = position
        elif positions:
            self.unpublished_at = self.at
        return len(blob)

    def published(self, message: bytes) -> int | None:
        """Take an entry that was published, if it continues what was read: it is of the same generation and names
        the last position. Its size in bytes; None where the log has to be read instead."""
        try:
            position, generation, before, count, at, blob = message.split(b" ", 5)
            number, previous = int(position), int(before)
            continues = previous == self.last and number > previous and 0 < int(generation) == self.generation
            time, positions = int(at), int(count)
        except ValueError:
            return None  # somebody else published it
        self.heard = max(self.heard, number)
        if not continues or not positions or not blob:
            return None
        self.at = max(self.at, time)  # as `_enter`, for an entry that continues
        self.entry = number
        self._take(number, blob)
        self.last = number + positions - 1
        return len(blob)

    def _enter(self, position: int, number: int, previous: int, count: int, at: int, blob: bytes) -> None:
        self.at = max(self.at, at)
        self.entry = position
        if not self.generation:
            self.begin(number, previous if count else position)
        elif number != self.generation:
            since, self.generation = self.last, number
            self.last = max(previous, since) if count else position
            self.start = position
            self._sequences.clear()  # what a node appends again from here on is in no earlier part of this log
            self._began(since, previous)
        elif previous != self.last:
            for own, batch in self._unreadable(self.last, previous):
                self._skip_to(own - 1)
                self._take(own, batch)
            self._skip_to(previous)
        if count:
            self._take(position, blob)
            self.last = position + count - 1
        else:
            self.last = position

    def _skip_to(self, position: int) -> None:
        if position != self.last:
            since, self.last = self.last, position
            self._began(since, position)

    def _take(self, position: int, blob: bytes) -> None:
        batch = _decoded(blob)
        if self._repeated(batch):
            return
        if batch.node == self._node:
            self._confirmed(batch.sequence)
        entered, at, node = self._entered, self.at, batch.node
        self.items += len(batch.items)
        if isinstance(batch, Batch):
            for item in batch.items:
                self.last = position
                entered(position, at, node, item)
                position += 1
            return
        for index, raw in enumerate(batch.items):
            known = _known(raw, optional=index in batch.optional)
            if known is not None:
                self.last = position + index
                entered(position + index, at, node, known)

    def _repeated(self, batch: Batch | _LooseBatch) -> bool:
        sequence = self._sequences.get(batch.node)
        if sequence is None:
            if len(self._sequences) >= REMEMBERED_NODES:
                self._forget()
            self._sequences[batch.node] = _Sequence(batch.sequence, self.at)
            return False
        if batch.sequence <= sequence.newest:
            return True
        sequence.newest, sequence.at = batch.sequence, self.at
        return False

    def _forget(self) -> None:
        oldest = self.at - SILENT_US
        self._sequences = {node: seen for node, seen in self._sequences.items() if seen.at >= oldest}


def _decoded(blob: bytes) -> Batch | _LooseBatch:
    try:
        return decode_batch(blob)
    except msgspec.ValidationError:
        return _decode_loose(blob)


def _known(raw: Raw, *, optional: bool) -> AnyItem | None:
    try:
        return _items.decode(raw)
    except msgspec.ValidationError:
        if optional:
            return None
        raise JournalUnusable(
            "Another node of this cluster runs a version whose journal items this node does not know: upgrade "
            "this node, one version at a time."
        ) from None
