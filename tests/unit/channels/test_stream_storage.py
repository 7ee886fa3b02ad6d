"""Streams in the message store: what is written when, and what happens when the store fails."""

from collections.abc import Callable
from typing import cast

import pytest

from aerostack_realtime.backplane.items import Append, Publish
from aerostack_realtime.channels.custom.streams import Appended, Stream, Streams
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.stream_storage import StreamStorage
from aerostack_realtime.database.message_store import NewMessage, Stored, StoredMessage
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable

AWAY = Unavailable("The database is away.")


class Store:
    """A message store that answers when the test asks for it; with `full` it refuses at once."""

    def __init__(self) -> None:
        self.inserted: list[NewMessage] = []
        self.updated: list[StoredMessage] = []
        self.waiting: list[Callable[[AerostackError | None], None]] = []
        self.full = False

    def append(self, message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
        if self.full:
            raise Overloaded("Too many messages wait to be stored.")
        self.inserted.append(message)

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        if self.full:
            raise Overloaded("Too many messages wait to be stored.")
        self.updated.append(message)
        self.waiting.append(done)

    def answer(self, failure: AerostackError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(failure)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def storage(store: Store) -> StreamStorage:
    return StreamStorage(cast(LicensedStore, store))


@pytest.fixture
def streams() -> Streams:
    return Streams(10_000)


@pytest.fixture
def stream(streams: Streams) -> Stream:
    item = Publish("chat/1/p", "answer", b'""', "ann", "s", persist=True, stream=True)
    found = streams.open(7, 1_000, "node", item)
    assert isinstance(found, Appended)
    found.stream.visible = True
    return found.stream


def grow(streams: Streams, stream: Stream, piece: bytes) -> None:
    found = streams.append(8, "node", Append(stream.topic, stream.id, stream.n, piece, "", "ann"))
    assert isinstance(found, Appended)


def test_a_new_stream_is_inserted_at_its_position(store: Store, storage: StreamStorage, stream: Stream) -> None:
    storage.open(stream, lambda _: None)
    [message] = store.inserted
    assert (message.position, message.user_id, message.id) == (7, "ann", "s")
    assert message.stream is not None
    assert (message.stream.n, message.stream.state) == (0, "open")


def test_several_pieces_are_one_update(
    store: Store, storage: StreamStorage, streams: Streams, stream: Stream
) -> None:
    for piece in (b'"a"', b'"b"'):
        grow(streams, stream, piece)
        storage.grown(stream)
    storage.flush()
    storage.flush()
    assert [bytes(each.data) for each in store.updated] == [b'"ab"']


def test_an_update_that_failed_is_made_again(store: Store, storage: StreamStorage, stream: Stream) -> None:
    storage.grown(stream)
    storage.flush()
    store.answer(AWAY)
    storage.flush()
    assert len(store.updated) == 2
    store.answer()
    storage.flush()
    assert len(store.updated) == 2


def test_a_full_store_is_asked_again(store: Store, storage: StreamStorage, stream: Stream) -> None:
    store.full = True
    storage.grown(stream)
    storage.flush()
    store.full = False
    storage.flush()
    assert len(store.updated) == 1


def test_the_end_replaces_the_update_that_waits(store: Store, storage: StreamStorage, stream: Stream) -> None:
    storage.grown(stream)
    outcomes: list[AerostackError | None] = []
    stream.state = "complete"
    storage.end(stream, 9, outcomes.append)
    storage.flush()
    store.answer(AWAY)
    [message] = store.updated
    assert message.stream is not None
    assert (message.stream.state, message.stream.ended) == ("complete", 9)
    assert outcomes == [AWAY]


def test_a_full_store_fails_an_opening_and_an_end_at_once(
    store: Store, storage: StreamStorage, stream: Stream
) -> None:
    store.full = True
    outcomes: list[object] = []
    storage.open(stream, outcomes.append)
    storage.end(stream, 9, outcomes.append)
    assert [type(each) for each in outcomes] == [Overloaded, Overloaded]
