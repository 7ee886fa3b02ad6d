"""A thread with an inbox. Each connection belongs to one thread; the owner is notified when it dies."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """A queue of one thread. It is unbounded: callers of `put` limit what they add."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._roused = False
        self._closed = False

    def put(self, item: Item) -> bool:
        """Add an item; returns False after `close`."""
        with self._changed:
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def rouse(self) -> None:
        """Make the next `take` return at once, even without items."""
        with self._changed:
            self._roused = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def closed(self) -> bool:
        return self._closed

    def take(self, timeout: float | None = None, limit: int | None = None) -> list[Item]:
        """Up to `limit` items, waiting at most `timeout` seconds for the first; [] also when closed or roused."""
        with self._changed:
            if not (self._items or self._roused or self._closed):
                self._changed.wait(timeout)
            self._roused = False
            count = len(self._items) if limit is None else min(limit, len(self._items))
            return [self._items.popleft() for _ in range(count)]


class Worker:
    """A thread that runs `main` once; `died` is called on the loop when that raises.

    The thread does not keep the process alive, so that a server that fails to close it can still end.
    """

    def __init__(self, name: str, main: Callable[[], None], died: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = main
        self._died = died
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, callback: Callable[..., None], *args: object) -> None:
        """Call `callback` on the loop, after everything that this thread posted before."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    async def ended(self) -> None:
        """Wait until `main` has returned or raised."""
        await self._ended.wait()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._main()
        except BaseException as error:
            self.post(self._died, error)
        finally:
            self.post(self._ended.set)
