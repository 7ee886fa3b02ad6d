"""The messages of y-websocket: synchronisation of a document and awareness (y-protocols), as bytes. No I/O."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from aerostack_realtime.protocol.errors import BadMessage

SYNC: Final = 0
AWARENESS: Final = 1
AUTH: Final = 2
QUERY_AWARENESS: Final = 3
_STEP_1: Final = 0
_STEP_2: Final = 1
_UPDATE: Final = 2
_DENIED: Final = 0

NOTHING: Final = b"\0\0"
"""The update that changes nothing."""
MAX_CLIENTS: Final = 1_000
"""Clients in one awareness message: each sends its own state, and at most repeats those of the others."""


class Step1(Struct, frozen=True):
    """The sender asks for what it lacks; it has what the state vector says."""

    state_vector: bytes


class Update(Struct, frozen=True):
    """An update; with `is_answer` what the receiver lacked."""

    update: bytes
    is_answer: bool


class State(Struct, frozen=True):
    """The awareness of one Yjs client, JSON; "null" once it is gone."""

    client: int
    clock: int
    state: str


class Awareness(Struct, frozen=True):
    """States of some clients."""

    states: tuple[State, ...]


class QueryAwareness(Struct, frozen=True):
    """Asks for all states."""


Message = Step1 | Update | Awareness | QueryAwareness


def decode(data: bytes) -> Message | None:
    """A message of a client; None for one that is not understood. Raises BadMessage."""
    reader = _Reader(data)
    try:
        match reader.number():
            case 0:
                kind = reader.number()
                content = reader.bytes()
                if kind == _STEP_1:
                    return Step1(content)
                return Update(content, kind == _STEP_2) if kind in (_STEP_2, _UPDATE) else None
            case 1:
                return Awareness(_states(reader.bytes()))
            case 3:
                return QueryAwareness()
            case _:
                return None
    except (IndexError, ValueError):
        raise BadMessage("This is not a message of y-websocket.") from None


def step_1(state_vector: bytes) -> bytes:
    return bytes([SYNC, _STEP_1]) + _block(state_vector)


def step_2(update: bytes) -> bytes:
    return bytes([SYNC, _STEP_2]) + _block(update)


def update(content: bytes) -> bytes:
    return bytes([SYNC, _UPDATE]) + _block(content)


def awareness(states: Sequence[State]) -> bytes:
    content = _number(len(states)) + b"".join(
        _number(each.client) + _number(each.clock) + _block(each.state.encode()) for each in states
    )
    return bytes([AWARENESS]) + _block(content)


def denied(reason: str) -> bytes:
    return bytes([AUTH, _DENIED]) + _block(reason.encode())


def _states(data: bytes) -> tuple[State, ...]:
    reader = _Reader(data)
    count = reader.number()
    if count > MAX_CLIENTS:
        raise BadMessage(f"A message holds the states of at most {MAX_CLIENTS} clients.")
    return tuple(State(reader.number(), reader.number(), reader.bytes().decode()) for _ in range(count))


def _block(content: bytes) -> bytes:
    return _number(len(content)) + content


def _number(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        """Seven bits in each byte, the lowest first; at most 64 bits."""
        number = shift = 0
        while shift < 64:
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ValueError

    def bytes(self) -> bytes:
        size = self.number()
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise ValueError
        self._at += size
        return found
