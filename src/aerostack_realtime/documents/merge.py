"""Documents as pure functions: the state that the messages of a document add up to. Needs pycrdt."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pycrdt

from aerostack_realtime.documents.requests import Corrupt, Merged, Message
from aerostack_realtime.protocol import documents
from aerostack_realtime.protocol.errors import BadMessage


def merged(messages: Sequence[Message], forget_before: int = 0) -> Merged | Corrupt:
    """The document that messages in their order add up to.

    The pieces of updates that lack others are not part of it, and wait. When the first piece was stored before
    `forget_before` (ms), the writer is gone, and they do not wait any more.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    assembly, applied = documents.Assembly(), list[bytes]()
    for message in messages:
        try:
            update = assembly.take(message.user_id, message.data, message.position)
            if update is not None:
                doc.apply_update(update)
                applied.append(update)
        except (BadMessage, ValueError) as error:
            return Corrupt(message.position, str(error))
    created_at = {message.position: message.created_at for message in messages}
    groups = [each for each in assembly.incomplete.values() if created_at[each[0]] >= forget_before]
    waiting = sorted(position for group in groups for position in group)
    state_vector: bytes = doc.get_state()
    # An update that refers to missing ones is kept aside by the library, and is not part of what it encodes.
    aside = list(_not_integrated(applied, state_vector))
    update = doc.get_update()
    return Merged(pycrdt.merge_updates(update, *aside) if aside else update, state_vector, waiting)


def is_news(update: bytes, candidate: bytes) -> bool:
    """Whether a candidate has anything that a document lacks. Raises BadMessage when it is not an update."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(update)
    try:
        if any(True for _ in _not_integrated([candidate], doc.get_state())):
            return True
        before = doc.get_update()
        doc.apply_update(candidate)
    except ValueError as error:
        raise BadMessage(f"This is not a Yjs update: {error}.") from None
    return doc.get_update() != before


def _not_integrated(updates: Iterable[bytes], state_vector: bytes) -> Iterator[bytes]:
    """The updates that say more than a document with this state vector has taken in."""
    clocks = dict(_pairs(_Numbers(state_vector)))
    for update in updates:
        rest = _Numbers(pycrdt.get_update(update, state_vector))
        if rest.next() != 0:  # clients with structs that the document lacks
            yield update
            continue
        for _ in range(rest.next()):
            client = rest.next()
            ranges = [(rest.next(), rest.next()) for _ in range(rest.next())]
            if any(clock + length > clocks.get(client, 0) for clock, length in ranges):
                yield update
                break


def _pairs(numbers: "_Numbers") -> Iterator[tuple[int, int]]:
    for _ in range(numbers.next()):
        yield numbers.next(), numbers.next()


class _Numbers:
    """The variable-length numbers of an encoding of Yjs: seven bits in each byte, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next(self) -> int:
        number = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
