"""Commands the server has not answered yet, in the order they were given. No I/O, no clock.

What is here is sent again after a reconnect, under the same id: the server handles a repeated id once.
"""

import asyncio
from collections.abc import Iterator
from secrets import token_urlsafe
from typing import Final

from aerostack_realtime.protocol.errors import AerostackError, Overloaded
from aerostack_realtime.protocol.messages import Reply

LIMIT: Final = 10_000
"""Waiting commands: far more than a program that awaits its calls has, and a bound for one that does not."""

_ID_BYTES: Final = 16  # unguessable: whoever guesses an id can make its publish a duplicate


def new_id() -> str:
    """A command id that no one else makes or guesses."""
    return token_urlsafe(_ID_BYTES)


class Outbox:
    """Unanswered commands by id, each with the future of its answer."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._waiting: dict[str, tuple[bytes, asyncio.Future[Reply]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id: str) -> bool:
        return id in self._waiting

    def add(self, id: str, frame: bytes) -> asyncio.Future[Reply]:
        """Keep `frame` until it is answered; its answer. Raises Overloaded when too many are waiting."""
        assert id not in self._waiting, "a command id is used once"
        if len(self._waiting) >= self._limit:
            raise Overloaded(f"{self._limit} calls wait for the server; await some before making more.")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (frame, answer)
        return answer

    def frames(self) -> Iterator[bytes]:
        """What has to be sent on a new connection, in order."""
        return iter([frame for frame, _ in self._waiting.values()])

    def answer(self, id: str, reply: Reply) -> bool:
        """Settle a command; whether it was waiting."""
        waiting = self._waiting.pop(id, None)
        if waiting and not waiting[1].done():
            waiting[1].set_result(reply)
        return waiting is not None

    def fail(self, id: str, error: AerostackError) -> bool:
        """Settle a command with an error; whether it was waiting."""
        waiting = self._waiting.pop(id, None)
        if waiting and not waiting[1].done():
            waiting[1].set_exception(error)
        return waiting is not None

    def fail_largest(self, error: AerostackError) -> bool:
        """Settle the largest command with an error; whether there was one.

        A server that reads no further than its size limit cannot say whose frame it refused. It was
        unanswered and beyond the limit, so the largest unanswered one is, too.
        """
        largest = max(self._waiting, key=lambda id: len(self._waiting[id][0]), default=None)
        return largest is not None and self.fail(largest, error)

    def withdraw(self, id: str) -> None:
        """Take out a command that its caller no longer waits for; it is not sent again."""
        self._waiting.pop(id, None)

    def fail_all(self, error: AerostackError) -> None:
        """Settle everything: there will be no answers."""
        for id in list(self._waiting):
            self.fail(id, error)
