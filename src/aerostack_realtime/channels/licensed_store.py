"""The message store as this node may use it: only while it has the licence to commit.

The database grants the licence, and ends it when the others declare this node dead. A node that was away may not
know yet that it was declared dead, and the others have decided by what was stored then. So a licence counts only
from an item on that this node appends after it was granted: what enters before is refused.
"""

import asyncio
from collections.abc import Callable

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Settle
from aerostack_realtime.database.message_store import LicenceLost, MessageStore, NewMessage, Stored, StoredMessage
from aerostack_realtime.protocol.errors import AerostackError


class LicensedStore:
    """Writes of this node. A node that is `alone` needs no licence. `lost` is called when a new one is needed."""

    def __init__(self, store: MessageStore, journal: Journal, lost: Callable[[], None], *, alone: bool) -> None:
        self.needs_licence = not alone
        """Whether this node has to ask for a licence."""
        self._store = store
        self._journal = journal
        self._lost = lost
        self._is_usable = alone
        self._alone = alone
        self._marks = 0
        self._writing = 0
        self._idle = asyncio.Event()

    # --- the licence -------------------------------------------------------------------------------------

    def granted(self) -> None:
        """The database granted a licence. Raises Overloaded, Unavailable; then ask for it again."""
        self._journal.append(Settle(()))
        self._marks += 1
        self.needs_licence = False

    def entered(self) -> None:
        """The item entered that this node appended when it was granted a licence."""
        self._marks -= 1
        self._is_usable = not self._marks and not self.needs_licence

    def suspend(self) -> None:
        """The licence has ended, or may have."""
        if not self._alone:
            self._is_usable = False
            self.needs_licence = True

    async def drained(self) -> None:
        """Wait until no write of this node waits for the database."""
        while self._writing:
            self._idle.clear()
            await self._idle.wait()

    # --- writes ------------------------------------------------------------------------------------------

    def append(self, message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
        """See `MessageStore.append`. Raises also LicenceLost."""

        def stored(result: Stored | AerostackError) -> None:
            self._ended(result)
            done(result)

        self._begin()
        try:
            self._store.append(message, stored)
        except AerostackError:
            self._ended(None)
            raise

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        """See `MessageStore.update`. Raises also LicenceLost."""

        def stored(result: AerostackError | None) -> None:
            self._ended(result)
            done(result)

        self._begin()
        try:
            self._store.update(message, stored)
        except AerostackError:
            self._ended(None)
            raise

    async def open_streams(self) -> list[StoredMessage]:
        """See `MessageStore.open_streams`."""
        return await self._store.open_streams()

    def _begin(self) -> None:
        """A write begins, which ends by `_ended`. Raises LicenceLost."""
        if not self._is_usable:
            raise LicenceLost
        self._writing += 1

    def _ended(self, result: object) -> None:
        self._writing -= 1
        if not self._writing:
            self._idle.set()
        if isinstance(result, LicenceLost):
            self.suspend()
            self._lost()
