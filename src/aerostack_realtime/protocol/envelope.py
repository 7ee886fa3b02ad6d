"""The readable part of an invalid frame, so that an error can name the command that it answers."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType


class Envelope(Struct):
    """The fields that name a message, of whatever type."""

    type: Any = UNSET
    topic: Any = UNSET
    id: Any = UNSET


_decode = msgspec.json.Decoder(Envelope).decode


def read(frame: bytes | str) -> Envelope:
    """The envelope of a frame; an empty one when the frame is not a JSON object."""
    try:
        return _decode(frame)
    except (msgspec.DecodeError, RecursionError):
        return Envelope()


def names(frame: bytes) -> tuple[str | UnsetType, str | UnsetType]:
    """The topic and the id of a frame, as far as they can be read."""
    envelope = read(frame)
    return _text(envelope.topic), _text(envelope.id)


def _text(value: Any) -> str | UnsetType:
    return value if isinstance(value, str) else UNSET
