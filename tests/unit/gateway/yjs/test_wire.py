"""The messages of y-websocket, compared with another implementation of y-protocols."""

import json

import pycrdt
import pytest

from aerostack_realtime.gateway.yjs import wire
from aerostack_realtime.protocol.errors import BadMessage


def test_synchronisation_is_read_and_written() -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.get("content", type=pycrdt.Text).insert(0, "x" * 300)
    update = doc.get_update()
    first = pycrdt.create_sync_message(doc)
    assert wire.decode(first) == wire.Step1(doc.get_state())
    assert wire.step_1(doc.get_state()) == first
    assert wire.decode(pycrdt.create_update_message(update)) == wire.Update(update, is_answer=False)
    assert wire.update(update) == pycrdt.create_update_message(update)
    answer = pycrdt.handle_sync_message(wire.step_1(b"\0")[1:], doc)
    assert answer is not None
    assert wire.decode(answer) == wire.Update(update, is_answer=True)
    assert wire.step_2(update) == answer


def test_awareness_is_read_and_written() -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=1 << 40)
    awareness = pycrdt.Awareness(doc)
    awareness.set_local_state({"name": "Añn"})
    message = pycrdt.create_awareness_message(awareness.encode_awareness_update([doc.client_id]))
    found = wire.decode(message)
    assert isinstance(found, wire.Awareness)
    [state] = found.states
    assert (state.client, state.clock) == (1 << 40, 1)
    assert json.loads(state.state) == {"name": "Añn"}
    other = pycrdt.Awareness(pycrdt.Doc())
    other.apply_awareness_update(pycrdt.read_message(wire.awareness([state])[1:]), None)
    assert other.states[1 << 40] == {"name": "Añn"}


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\5ab", b"\1\xff\xff\xff\xff\x0f", b"\1\3\2\1\1", b"\xff" * 20])
def test_a_broken_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        wire.decode(data)


@pytest.mark.parametrize("data", [b"\7", b"\0\7\0", b"\2\0"])
def test_an_unknown_message_is_ignored(data: bytes) -> None:
    assert wire.decode(data) is None
