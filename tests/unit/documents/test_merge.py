"""The document that messages add up to."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pycrdt
import pytest

from aerostack_realtime.documents.merge import is_news, merged
from aerostack_realtime.documents.requests import Corrupt, Merged, Message
from aerostack_realtime.protocol import documents
from aerostack_realtime.protocol.errors import BadMessage


class Editor:
    """A Yjs client: its document, and the updates that it has made."""

    def __init__(self, client_id: int, *updates: bytes) -> None:
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client_id)
        for update in updates:
            self.doc.apply_update(update)
        self.text = self.doc.get("content", type=pycrdt.Text)
        self.updates: list[bytes] = []
        self._observed = self.doc.observe(lambda event: self.updates.append(event.update))


def stored(updates: Sequence[bytes], first: int = 1) -> list[Message]:
    return [
        Message(position, position, "ann", json.dumps(documents.written(update)).encode())
        for position, update in enumerate(updates, first)
    ]


def typed(text: str) -> Editor:
    ann = Editor(1)
    for index, letter in enumerate(text):
        ann.text.insert(index, letter)
    return ann


def read(update: bytes, *later: bytes) -> str:
    return str(Editor(9, update, *later).text)


def document(messages: Sequence[Message]) -> Merged:
    found = merged(messages)
    assert isinstance(found, Merged)
    return found


def test_updates_add_up_to_one() -> None:
    ann = typed("hello")
    bob = Editor(2, *ann.updates)
    bob.text.insert(5, " world")
    found = document(stored([*ann.updates, *bob.updates]))
    assert read(found.update) == "hello world"
    assert found.waiting == []
    assert found.update == bob.doc.get_update()
    again = document(stored([found.update, *ann.updates[:2]]))
    assert again.update == found.update


def test_an_update_that_refers_to_missing_ones_is_kept() -> None:
    ann = typed("hello")
    bob = Editor(2, *ann.updates)
    del bob.text[0:2]
    bob.text.insert(0, "J")
    for known in (ann.updates[1:], []):
        found = document(stored([*known, *bob.updates]))
        assert read(found.update, *ann.updates) == "Jllo"


def test_pieces_are_joined_and_those_of_an_update_that_lacks_some_wait() -> None:
    ann = typed("a")
    ann.text.insert(1, "b" * 1_000)
    whole, large = ann.updates
    pieces = list(documents.pieces(large, "p", 400))
    data = [json.dumps(documents.written(whole)).encode(), *map(msgspec.json.encode, pieces)]
    messages = [Message(position, position, "ann", each) for position, each in enumerate(data, 1)]
    assert len(read(document(messages).update)) == 1_001
    bob = Editor(2, whole)
    bob.text.insert(1, "!")
    waiting = [*messages[:-1], *stored(bob.updates, first=90)]
    found = document(waiting)
    assert found.waiting == [each.position for each in messages[1:-1]]
    assert read(found.update) == "a!"
    forgotten = merged(waiting, forget_before=50)
    assert isinstance(forgotten, Merged)
    assert forgotten.waiting == []


@pytest.mark.parametrize(
    "data", [b"5", b'"not base64"', b'""', b'"AQI="', b'{"of":"a","part":3,"parts":2,"update":"AAA="}']
)
def test_a_message_that_is_not_an_update_makes_the_document_corrupt(data: bytes) -> None:
    messages = [*stored(typed("hi").updates), Message(7, 7, "eve", data)]
    found = merged(messages)
    assert isinstance(found, Corrupt)
    assert found.position == 7


def test_news_is_what_a_document_lacks() -> None:
    ann = typed("hello")
    update = document(stored(ann.updates)).update
    bob = Editor(2, update)
    del bob.text[0:1]
    assert is_news(update, bob.updates[0])
    assert is_news(update, bob.doc.get_update())
    assert not is_news(bob.doc.get_update(), bob.updates[0])
    assert not is_news(update, ann.updates[2])
    assert not is_news(update, b"\0\0")
    with pytest.raises(BadMessage):
        is_news(update, b"\1\2")
