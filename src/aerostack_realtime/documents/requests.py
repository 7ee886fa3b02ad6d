"""What the server and the process that reads documents say to each other: msgpack with its length before it."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

HEAD: Final = 4
"""Bytes of a length, the highest first."""


class Message(Struct, frozen=True, array_like=True, gc=False):
    """A stored message of a document. `created_at` is in ms; `data` is JSON."""

    position: int
    created_at: int
    user_id: str
    data: bytes


class Merged(Struct, frozen=True, array_like=True, tag="merged"):
    """A document: one update that holds all of it, and its state vector. `waiting` are the positions of the
    messages that are not part of it: pieces of updates that lack others."""

    update: bytes
    state_vector: bytes
    waiting: list[int]


class Corrupt(Struct, frozen=True, array_like=True, tag="corrupt"):
    """A document that cannot be read, because of the message at `position`."""

    position: int
    reason: str


class More(Struct, frozen=True, array_like=True, tag="more"):
    """The first messages of the document that the next request is about. It has no answer."""

    messages: list[Message]


class Merge(Struct, frozen=True, array_like=True, tag="merge"):
    """Asks for the document that messages add up to, see `merge.merged`."""

    messages: list[Message]
    forget_before: int = 0


class IsNews(Struct, frozen=True, array_like=True, tag="news"):
    """Asks whether `candidate`, an update, has anything that the document lacks."""

    messages: list[Message]
    candidate: bytes


class News(Struct, frozen=True, array_like=True, tag="is_news"):
    """The answer to `IsNews`."""

    is_news: bool


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The request holds something that is not what it should be."""

    reason: str


Request = Merge | IsNews
AnyRequest = More | Request
Answer = Merged | Corrupt | News | Refused

encode: Final = msgspec.msgpack.Encoder().encode
decode_request: Final[Callable[[bytes], AnyRequest]] = msgspec.msgpack.Decoder(AnyRequest).decode
decode_answer: Final[Callable[[bytes], Answer]] = msgspec.msgpack.Decoder(Answer).decode


def framed(message: AnyRequest | Answer) -> bytes:
    """A message with its length before it."""
    data = encode(message)
    return len(data).to_bytes(HEAD, "big") + data
