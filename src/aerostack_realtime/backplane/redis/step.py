"""What waits for the end of a read: subscribers are written to once, and before the node's own bookkeeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Step:
    """Calls that wait until all that one read of a connection brought has been handled.

    The reader sets `is_open` when it begins to handle a read, and calls `end` after it. Outside of that, `defer`
    waits for the end of the tick. Calls run in their order; one that raises is reported as the event loop does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = False
        self._loop = loop
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def defer(self, call: Callable[..., object], *args: Any) -> None:
        if self.is_open:
            self._calls.append((call, args))
        else:
            self._loop.call_soon(call, *args)

    def end(self) -> None:
        """What the calls defer themselves waits for the end of the tick."""
        self.is_open = False
        if not self._calls:
            return
        calls, self._calls = self._calls, []
        for call, args in calls:
            try:
                call(*args)
            except Exception as error:
                self._loop.call_exception_handler({"message": "a deferred call failed", "exception": error})
