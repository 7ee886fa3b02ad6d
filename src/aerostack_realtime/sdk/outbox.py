"""Commands that the server has not answered yet, in the order they were made. No I/O, no clock.

They are sent again after a reconnect, under the same id; the server carries out a repeated id once.
"""

import asyncio
from collections.abc import Callable, Iterator
from secrets import token_urlsafe
from typing import Final

from aerostack_realtime.protocol.errors import AerostackError, Overloaded
from aerostack_realtime.protocol.messages import Reply

LIMIT: Final = 10_000
"""Waiting commands: far more than a program that awaits its calls has, and a bound for one that does not."""

_ID_BYTES: Final = 16  # unguessable: a client that guesses an id can make its publish a duplicate


def new_id() -> str:
    """A command id that nobody else generates or guesses."""
    return token_urlsafe(_ID_BYTES)


class Outbox:
    """Unanswered commands by id, each with the future of its answer."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._waiting: dict[str, tuple[bytes, asyncio.Future[Reply]]] = {}
        self._retried: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id: str) -> bool:
        return id in self._waiting

    def add(self, id: str, frame: bytes, *, retried: bool = False) -> asyncio.Future[Reply]:
        """Keep `frame` until it is answered; returns its answer. With `retried` it is sent again when the
        server refuses it for now. Raises Overloaded when too many are waiting."""
        assert id not in self._waiting, "a command id is used once"
        if len(self._waiting) >= self._limit:
            raise Overloaded(f"{self._limit} calls wait for the server; await some before making more.")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (frame, answer)
        if retried:
            self._retried.add(id)
        return answer

    def retried(self, id: str) -> bytes | None:
        """The frame of an unanswered command that is sent again when the server refuses it for now."""
        return self._waiting[id][0] if id in self._retried else None

    def frames(self) -> Iterator[bytes]:
        """The frames to send on a new connection, in order."""
        return iter([frame for frame, _ in self._waiting.values()])

    def answer(self, id: str, reply: Reply) -> bool:
        """Settle a command; returns whether it was waiting."""
        waiting = self._pop(id)
        if waiting and not waiting[1].done():
            waiting[1].set_result(reply)
        return waiting is not None

    def fail(self, id: str, error: AerostackError) -> bool:
        """Settle a command with an error; returns whether it was waiting."""
        waiting = self._pop(id)
        if waiting and not waiting[1].done():
            waiting[1].set_exception(error)
        return waiting is not None

    def fail_largest(self, error: AerostackError) -> bool:
        """Settle the largest command with an error, the oldest of them if several are; returns whether there was
        one.

        A server that refuses a frame for its size, unread, cannot say which one it was. It is unanswered, and
        larger than every frame that the server accepts, so it is this one.
        """
        largest = max(self._waiting, key=lambda id: len(self._waiting[id][0]), default=None)
        return largest is not None and self.fail(largest, error)

    def fail_oldest(self, error: AerostackError) -> bool:
        """Settle the oldest command with an error; returns whether there was one."""
        oldest = next(iter(self._waiting), None)
        return oldest is not None and self.fail(oldest, error)

    def fail_invalid(self, check: Callable[[bytes], None]) -> None:
        """Settle each command for whose frame `check` raises an AerostackError with that error."""
        for id, (frame, _) in list(self._waiting.items()):
            try:
                check(frame)
            except AerostackError as error:
                self.fail(id, error)

    def withdraw(self, id: str) -> None:
        """Remove a command whose caller no longer waits for it; it is not sent again."""
        self._pop(id)

    def fail_all(self, error: AerostackError) -> None:
        """Settle everything: no answers will come."""
        for id in list(self._waiting):
            self.fail(id, error)

    def _pop(self, id: str) -> tuple[bytes, asyncio.Future[Reply]] | None:
        self._retried.discard(id)
        return self._waiting.pop(id, None)
