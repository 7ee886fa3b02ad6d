"""A document that several programs edit at once, as a program without an editor reads and edits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from aerostack_realtime.protocol import documents, messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.requests import ask
from aerostack_realtime.sdk.subscription import State

if TYPE_CHECKING:
    import pycrdt

    from aerostack_realtime.sdk.channel import Channel

PIECE_BYTES: Final = 32_768
"""Base64 of an update in one message: half of the frames that a server reads by default."""
ATTEMPTS: Final = 20
FIRST_RETRY_SECONDS: Final = 0.25
LAST_RETRY_SECONDS: Final = 5.0
"""An edit is sent again for a minute or more while the server refuses it for a reason that passes."""


class CorruptDocument(BadMessage):
    """A document holds something that is not an update. It is kept as it is."""


class Document:
    """A Yjs document on a topic. Get it from `sdk.document(topic)`, and use it as an `async with` block.

    Inside the block it holds everything that was stored before, and follows the edits of others. Edits of `text`
    and `map` are sent at once, in order; await `saved` before you rely on them. Needs the extra `documents`
    (`pip install 'aerostack-realtime[documents]'`).
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._doc = _new_doc()
        self._assembly = documents.Assembly()
        self._error: AerostackError | None = None
        self._applying = False
        self._edits: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None
        self._observed: Any = None
        self._listeners: list[Callable[[], object]] = []

    async def __aenter__(self) -> Document:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.saved()
        await self.close()

    @property
    def topic(self) -> str:
        """The topic as you wrote it."""
        return self._channel.topic

    @property
    def doc(self) -> pycrdt.Doc[Any]:
        """The document itself, for everything that pycrdt can do with one."""
        return self._doc

    def text(self, name: str = "content") -> pycrdt.Text:
        """The shared text of that name: `str(text)`, `text += "…"`, `text.insert(0, "…")`, `del text[0:5]`."""
        import pycrdt

        found: pycrdt.Text = self._doc.get(name, type=pycrdt.Text)
        return found

    def map(self, name: str) -> pycrdt.Map[Any]:
        """The shared map of that name, which is used like a dictionary."""
        import pycrdt

        found: pycrdt.Map[Any] = self._doc.get(name, type=pycrdt.Map)
        return found

    def apply(self, update: bytes) -> None:
        """Apply a Yjs update as an edit of this program. Raises BadMessage when it is not an update."""
        try:
            self._doc.apply_update(update)
        except ValueError as error:
            raise BadMessage(f"This is not a Yjs update: {error}.") from None

    def update(self) -> bytes:
        """The whole document as one Yjs update, for exports and copies."""
        found: bytes = self._doc.get_update()
        return found

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call `callback` (plain, short) after every change, by whichever editor."""
        self._listeners.append(callback)

    async def open(self) -> None:
        """Load the document; returns when it holds everything that was stored before.

        Raises CorruptDocument, Unauthorized, Forbidden, or a retryable error.
        """
        self._channel.on(documents.EVENT, self._received)
        await self._channel.subscribe()
        await self._loaded()
        self._raise()
        self._observed = self._doc.observe(self._changed)

    async def saved(self) -> None:
        """Wait until the server has stored every edit of this program.

        Raises CorruptDocument, Forbidden, or what else ended the sending.
        """
        while self._sending is not None and not self._sending.done():
            await asyncio.shield(self._sending)
        self._raise()

    async def close(self) -> None:
        """Stop following the document. Edits that are not saved may be lost. Idempotent."""
        if self._observed is not None:
            self._doc.unobserve(self._observed)
            self._observed = None
        if self._sending is not None:
            self._sending.cancel()
        await self._channel.unsubscribe()

    # --- from the server -----------------------------------------------------------------------------------

    def _received(self, payload: Payload) -> None:
        """An update arrived. A gap needs no care: the stored messages that are missing follow it (§5)."""
        self._take(payload.user_id or "", messages.encode(payload.data), payload.id or "")

    def _take(self, user_id: str, data: bytes, id: str) -> None:
        self._applying = True
        try:
            update = self._assembly.take(user_id, data)
            if update is not None:
                self._doc.apply_update(update)
        except (BadMessage, ValueError) as error:
            self._error = CorruptDocument(
                f"The document {self.topic!r} cannot be read: its message {id!r} is not an update ({error}). It "
                "is kept as it is: restore it from a backup, or delete that message."
            )
            return
        finally:
            self._applying = False
        for listener in self._listeners:
            listener()

    async def _loaded(self) -> None:
        """Wait until everything that was stored before the subscription has been applied.

        The server answers the commands of a connection in order, so the answer of another one follows the history.
        """
        subscription = self._channel._subscription
        while True:
            id = new_id()
            await ask(self._channel._client, id, messages.Untrack(subscription.wire_topic, id), messages.Ack)
            while not self._channel._delivery.idle:  # noqa: ASYNC110 - its handlers do not wait
                await asyncio.sleep(0)
            if subscription.state is State.LIVE or not subscription.confirmed:
                return

    # --- to the server -------------------------------------------------------------------------------------

    def _changed(self, event: pycrdt.TransactionEvent) -> None:
        if self._applying:
            return
        self._edits.append(event.update)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name=f"edits of {self.topic}")
        for listener in self._listeners:
            listener()

    async def _send(self) -> None:
        """Publish the edits that wait, until there are none."""
        while self._edits and self._error is None:
            edits, self._edits = self._edits, []
            try:
                await asyncio.gather(*(self._publish(data) for edit in edits for data in _data(edit)))
            except AerostackError as error:
                self._error = error

    async def _publish(self, data: Any) -> None:
        """Publish until the server has stored it. All attempts have one id: a piece that is stored twice would
        begin its update again, and the server would wait for the others."""
        id, topic = new_id(), self._channel._subscription.wire_topic
        command = messages.Publish(topic, documents.EVENT, Raw(messages.encode(data)), True, id, echo=False)
        backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        for attempt in range(ATTEMPTS):
            try:
                await ask(self._channel._client, id, command, messages.Ack)
                return
            except AerostackError as error:
                if not error.retryable or attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(backoff.wait())

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _data(update: bytes) -> list[Any]:
    """The `data` of the messages that an update becomes."""
    if len(update) * 4 // 3 <= PIECE_BYTES:
        return [documents.written(update)]
    return list(documents.pieces(update, new_id(), PIECE_BYTES))


def _new_doc() -> pycrdt.Doc[Any]:
    try:
        import pycrdt
    except ImportError:
        raise ImportError("Documents need pycrdt: pip install 'aerostack-realtime[documents]'") from None
    return pycrdt.Doc()
