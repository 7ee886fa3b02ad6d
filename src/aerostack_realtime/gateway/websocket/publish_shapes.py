"""What the texts of repeated publishes have in common, and what differs in them: the data, and the id if they have
one."""

import re
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct

from aerostack_realtime.channels.publishing import MAX_ID
from aerostack_realtime.gateway.websocket.framing import whole_texts_in_python
from aerostack_realtime.native import compiled_or
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.nesting import exceeds

_SPACE: Final = b" \t\n\r"
_MEMBER: Final = re.compile(rb'[ \t\n\r]*+[{,][ \t\n\r]*+"([^"\\]*+)"[ \t\n\r]*+:[ \t\n\r]*+')
"""An object's member up to its value. The name has no escapes, so that equal names are equal bytes."""
_SCALAR: Final = re.compile(rb'"[^"\\]*+"|[a-z]++|[-+.0-9eE]++')
"""A value without members, in a text that is JSON. A string has no escapes."""
_PLAIN_ID: Final = re.compile(rb"[ !#-\[\]-~]{1,%d}" % MAX_ID)
"""An id that needs no escapes in JSON."""

_value = msgspec.json.Decoder(Raw).decode


class PublishShape(Struct, frozen=True):
    """The text of a publish: `before`, its data, and `behind`. With an id: `before`, the data, `between`, the id,
    and `behind`. The quotes of the id belong to the shape."""

    before: bytes
    between: bytes | None
    behind: bytes


def shape_of(text: bytes, command: messages.Publish) -> PublishShape | None:
    """The shape of the text of a publish with no options but `echo`, and an id behind its data. None for others.

    Any other JSON value as the data, and any other plain id, make the same command but for these two: both are
    members of the outer object, no name occurs twice, and all other members are scalars.
    """
    if (
        command.persist
        or command.stream
        or command.ref is not UNSET
        or command.traceparent is not UNSET
        or command.compacts is not UNSET
    ):
        return None
    values: dict[bytes, tuple[int, int]] = {}
    data, end = bytes(command.data), 0
    while (member := _MEMBER.match(text, end)) is not None:
        name, begin = member[1], member.end()
        if name == b"data":
            end = begin + len(data)
        elif (scalar := _SCALAR.match(text, begin)) is not None:
            end = scalar.end()
        else:
            return None
        if name in values:
            return None
        values[name] = begin, end
    if b"data" not in values or text[end:].strip(_SPACE) != b"}":
        return None
    begin, end = values[b"data"]
    if command.id is UNSET:
        return PublishShape(text[:begin], None, text[end:])
    first, last = values[b"id"]
    if first < end or _PLAIN_ID.fullmatch(text, first + 1, last - 1) is None:
        return None
    return PublishShape(text[:begin], text[end : first + 1], text[last - 1 :])


def repeated_publishes_in_python(
    read: bytes, before: bytes, between: bytes | None, behind: bytes, levels: int
) -> list[tuple[bytes, str | None, int]] | None:
    """The data, the id (None without one) and the size of each text in bytes that are nothing but whole texts of a
    client, all of one shape, with data (JSON) of at most `levels` levels in ASCII. None for any others."""
    found: list[tuple[bytes, str | None, int]] = []
    begin = len(before)
    for text in whole_texts_in_python(read) or ():
        end = len(text) - len(behind)
        if end < begin or not (text.startswith(before) and text.endswith(behind)):
            return None
        data, id = text[begin:end], None
        if between is not None:
            data, separator, written = data.rpartition(between)  # which ends with a quote, and an id has none
            if not separator or _PLAIN_ID.fullmatch(written) is None:
                return None
            id = written.decode()
        if not data.isascii() or exceeds(data, levels):
            return None
        try:
            if len(_value(data)) != len(data):
                return None  # a space around it
        except msgspec.DecodeError:
            return None
        found.append((data, id, len(text)))
    return found or None


repeated_publishes: Final = compiled_or(repeated_publishes_in_python, "repeated_publishes")
