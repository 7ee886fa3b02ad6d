"""What waits for the message store: new messages, and the growth of streams."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from aerostack_realtime.database.message_store import NewMessage, Stored, StoredMessage
from aerostack_realtime.protocol.errors import AerostackError

Outcome = Stored | AerostackError


class Append(Struct, frozen=True, gc=False):
    message: NewMessage
    done: Callable[[Outcome], None]

    def answer(self, outcome: Outcome | None) -> None:
        assert outcome is not None, "an append has an outcome"
        self.done(outcome)


class Update(Struct, gc=False):
    """`is_sent`: an attempt to store it has no answer."""

    message: StoredMessage
    done: Callable[[AerostackError | None], None]
    is_sent: bool = False

    def answer(self, outcome: Outcome | None) -> None:
        self.done(outcome if isinstance(outcome, AerostackError) else None)


AnyWrite = Append | Update
