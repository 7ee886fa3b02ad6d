"""What the feed's thread has for the event loop, in order, and in portions that delay other tasks little."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import process_time

from aerostack_realtime.database.base import Change
from aerostack_realtime.database.sqlite.changelog import position_of
from aerostack_realtime.database.turns import TurnSize

Deliver = Callable[[Sequence[Change], int], None]
"""Delivers changes, up to a position of the log."""


class Batch:
    """Changes up to the position `end`. They are delivered in as many parts as it takes; then `done` is called."""

    __slots__ = ("_at", "_changes", "_deliver", "_done", "_end")

    def __init__(self, changes: Sequence[Change], end: int, deliver: Deliver, done: Callable[[], object]) -> None:
        self._changes = changes
        self._end = end
        self._deliver = deliver
        self._done = done
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at == len(self._changes)

    def next(self, most: int) -> int:
        """Deliver at most `most` changes; returns how many."""
        changes, since = self._changes, self._at
        self._at = until = min(since + most, len(changes))
        part = changes if until - since == len(changes) else changes[since:until]
        try:
            self._deliver(part, self._end if self.is_done else position_of(part[-1]))
        finally:
            if self.is_done:
                self._done()
        return until - since


class PacedCalls:
    """Calls and batches, in the order of `post`, which any thread may call. Between two turns, other tasks of the
    loop run, but no later call. `most` changes are the largest turn. `clock` is the CPU time of all threads: one
    that reads meanwhile takes the interpreter, and often the processor core, from the turn."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, most: int, clock: Callable[[], float] = process_time
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._turn_size = TurnSize(most, clock)
        self._waiting: deque[Callable[[], object] | Batch] = deque()
        self._pausing = False

    def post(self, item: Callable[[], object] | Batch) -> None:
        """Make a call, or deliver a batch, on the loop."""
        self._waiting.append(item)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._posted)

    def _posted(self) -> None:
        if not self._pausing:
            self._turn()

    def _turn(self) -> None:
        self._turn_size.begin()
        self._pausing = False
        room = most = self._turn_size.changes
        try:
            while self._waiting and room > 0:
                room -= self._next(room)
        finally:  # also when one of them has raised
            if self._waiting or room < most // 2:  # a batch posted meanwhile then begins as the next turn
                self._pausing = True
                self._turn_size.pause()
                self._loop.call_soon(self._turn)

    def _next(self, room: int) -> int:
        """Make the next call, or deliver what there is room for; returns how many changes were delivered, or would
        have been in the time of the call."""
        item = self._waiting[0]
        began = self._clock()
        if not isinstance(item, Batch):
            self._waiting.popleft()
            item()
            return self._turn_size.worth(self._clock() - began)
        try:
            count = item.next(room)
        finally:
            if item.is_done:
                self._waiting.popleft()
        self._turn_size.took(count, self._clock() - began)
        return count
