"""The stored messages of a document."""

from typing import Final

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.documents.requests import Message
from aerostack_realtime.protocol import documents
from aerostack_realtime.protocol.errors import TooLarge

PAGE: Final = 1_000
MAX_BYTES: Final = 64 << 20
"""The messages of one document, in JSON. All of them are in memory while it is read."""


async def stored_messages(hub: Hub, store: MessageStore, topic: str) -> list[Message]:
    """The updates of a document in order, as far as they have been delivered. Raises TooLarge, Unavailable."""
    until, position, size = hub.subscriptions.delivered(topic), -1, 0
    found: list[Message] = []
    while True:
        page = await store.after(topic, position, until, PAGE)
        for each in page:
            if each.event == documents.EVENT:
                data = bytes(each.data)
                size += len(data)
                found.append(Message(each.position, each.created_at, each.user_id, data))
        if size > MAX_BYTES:
            raise TooLarge(f"The document has more than {MAX_BYTES} bytes of updates.")
        if len(page) < PAGE:
            return found
        position = page[-1].position
