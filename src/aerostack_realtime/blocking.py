"""The SDK for code without an event loop, such as Django and Flask views.

The one async implementation runs on a loop in a thread of its own; calls may come from any thread. The thread
starts with the first call, so an object that is created before a server forks its workers works in every worker.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from aerostack_realtime.sdk import aerostack, document
from aerostack_realtime.sdk.payload import Ack, HistoryMessage, Payload, QueryResult
from aerostack_realtime.sdk.pieces import pieces_of
from aerostack_realtime.sdk.write_stream import WriteStream

_Async = aerostack.Aerostack
_Result = TypeVar("_Result")


class Aerostack(AbstractContextManager["Aerostack"]):
    """Like `aerostack_realtime.Aerostack`, with the same arguments, errors and results, without `await`."""

    def __init__(self, url: str | Sequence[str], **settings: Any) -> None:
        self._make = partial(_Async, url, **settings)
        self._make()  # raises for wrong arguments here, not at the first call
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread, _Async] | None = None
        self.socket = Socket(self)
        self.db = Db(self)

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self,
        topic: str,
        event: str,
        data: Any = None,
        *,
        persist: bool = False,
        traceparent: str | None = None,
    ) -> Ack:
        """Like `Channel.publish`, over the WebSocket: needs no secret key, and waits for a reconnect."""
        return self.run(
            lambda sdk: sdk.realtime.channel(topic).publish(event, data, persist=persist, traceparent=traceparent)
        )

    def stream(
        self, topic: str, event: str, *, data: str | list[Any] = "", id: str | None = None, persist: bool = False
    ) -> "Stream":
        """Like `Channel.stream`: `with sdk.stream(topic, "answer") as stream: stream.append(text)`. A cancellation
        raises at the next call."""
        return Stream(
            self, lambda sdk: sdk.realtime.channel(topic).stream(event, data=data, id=id, persist=persist)
        )

    def pipe(
        self,
        topic: str,
        event: str,
        source: Iterable[Any],
        *,
        data: str | list[Any] = "",
        id: str | None = None,
        persist: bool = False,
    ) -> None:
        """Like `Channel.pipe`: the caller's thread iterates over `source`, and closes it."""
        try:
            with self.stream(topic, event, data=data, id=id, persist=persist) as stream:
                for chunk in source:
                    for piece in pieces_of(chunk, as_items=isinstance(data, list)):
                        stream.append(piece)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def history(self, topic: str, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """Like `Channel.get_history`."""
        return self.run(lambda sdk: sdk.history(topic, limit, before))

    def document(self, topic: str) -> "Document":
        """Like `Aerostack.document`: `with sdk.document(topic) as document`."""
        return Document(self, topic)

    def listen(self, topic: str) -> Iterator[Payload]:
        """The events of a channel as they arrive, until `close`."""

        async def opened(sdk: _Async) -> AsyncIterator[Payload]:
            return aiter(sdk.realtime.channel(topic))

        events = self.run(opened)
        while (payload := self.run(lambda _: anext(events, None))) is not None:
            yield payload

    def run(self, call: Callable[[_Async], Awaitable[_Result]]) -> _Result:
        """The result of any call of the async SDK: `run(lambda sdk: sdk.presence("chat/general"))`."""
        with self._lock:
            if self._running is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="aerostack", daemon=True)
                thread.start()
                self._running = (loop, thread, self._make())
            loop, _, sdk = self._running

        async def made() -> _Result:
            return await call(sdk)

        return asyncio.run_coroutine_threadsafe(made(), loop).result()

    def close(self) -> None:
        """Disconnect and end the thread. A later call starts a new one."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            loop, thread, sdk = running
            asyncio.run_coroutine_threadsafe(sdk.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Stream(AbstractContextManager["Stream"]):
    """Like `WriteStream`, without `await`."""

    def __init__(self, facade: Aerostack, make: Callable[[_Async], WriteStream]) -> None:
        self._facade = facade
        self._make = make
        self._stream: WriteStream | None = None

    @property
    def n(self) -> int:
        """How many pieces the stream has."""
        return 0 if self._stream is None else self._stream.n

    def __enter__(self) -> "Stream":
        async def opened(sdk: _Async) -> WriteStream:
            return await self._make(sdk).open()

        self._stream = self._facade.run(opened)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stream = self._opened
        if kind is None:
            self._facade.run(lambda _: stream.finish())
        elif not stream.cancelled:
            self._facade.run(lambda _: stream.abandon("failed"))

    def append(self, piece: Any) -> None:
        stream = self._opened
        self._facade.run(lambda _: stream.append(piece))

    @property
    def _opened(self) -> WriteStream:
        assert self._stream is not None, "a stream is used as a with block"
        return self._stream


class Document(AbstractContextManager["Document"]):
    """Like `sdk.document`, without `await`. `edit` works on the document in the thread of the SDK, where it is."""

    def __init__(self, facade: Aerostack, topic: str) -> None:
        self._facade = facade
        self._topic = topic
        self._document: document.Document | None = None

    def __enter__(self) -> "Document":
        async def opened(sdk: _Async) -> document.Document:
            found = sdk.document(self._topic)
            await found.open()
            return found

        self._document = self._facade.run(opened)
        return self

    def __exit__(self, *_: object) -> None:
        opened, self._document = self._opened, None
        self._facade.run(lambda _: opened.close())

    def text(self, name: str = "content") -> str:
        """The shared text of that name as it is now."""
        return self.edit(lambda found: str(found.text(name)))

    def map(self, name: str) -> dict[str, Any]:
        """The shared map of that name as it is now."""
        return self.edit(lambda found: found.map(name).to_py() or {})

    def apply(self, update: bytes) -> None:
        """Apply a Yjs update as an edit of this program. Raises BadMessage when it is not an update."""
        self.edit(lambda found: found.apply(update))

    def update(self) -> bytes:
        """The whole document as one Yjs update."""
        return self.edit(lambda found: found.update())

    def edit(self, call: Callable[[document.Document], _Result]) -> _Result:
        """Call `call` with the document of the async SDK, and return its result once all edits are stored."""
        opened = self._opened

        async def edited(_: _Async) -> _Result:
            result = call(opened)
            await opened.saved()
            return result

        return self._facade.run(edited)

    @property
    def _opened(self) -> document.Document:
        assert self._document is not None, "a document is used as a with block"
        return self._document


class Socket(NamedTuple):
    """Like `sdk.socket`."""

    facade: Aerostack

    def emit(
        self, event: str, data: Any, topic: str, *, persist: bool = False, traceparent: str | None = None
    ) -> Ack:
        return self.facade.run(
            lambda sdk: sdk.socket.emit(event, data, topic, persist=persist, traceparent=traceparent)
        )


class Db(NamedTuple):
    """Like `sdk.db`."""

    facade: Aerostack

    def query(self, sql: str, params: Sequence[Any] = ()) -> QueryResult:
        return self.facade.run(lambda sdk: sdk.db.query(sql, params))

    def batch(self, queries: Iterable[aerostack.Query]) -> list[QueryResult]:
        return self.facade.run(lambda sdk: sdk.db.batch(queries))
