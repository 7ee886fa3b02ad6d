"""The bridge from a callback to a coroutine that waits for it."""

import asyncio
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from aerostack_realtime.protocol.errors import AerostackError

Result = TypeVar("Result")


class Answer(Generic[Result]):
    """One result that a callback reports and a coroutine awaits.

        answer = Answer[Outcome]()
        hub.publish(…, answer.done)
        outcome = await answer

    Awaiting it raises the AerostackError that was reported. It is made on the running event loop, and `done`
    is called there.
    """

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    @property
    def awaited(self) -> bool:
        """Whether a result can still be reported: none was, and the coroutine has not been cancelled."""
        return not self._future.done()

    def done(self, outcome: Result | AerostackError) -> None:
        """Report the result. Ignored when one was reported before, and when nobody waits any more."""
        if self._future.done():
            return
        if isinstance(outcome, AerostackError):
            self._future.set_exception(outcome)
        else:
            self._future.set_result(outcome)

    def __await__(self) -> Generator[Any, None, Result]:
        return self._future.__await__()
