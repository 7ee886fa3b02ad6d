"""The frames of events that differ in their data, id, time and position only, and of their acknowledgements."""

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct

from aerostack_realtime.native import compiled_or
from aerostack_realtime.protocol import frames, messages

_string: Final = msgspec.json.Encoder().encode
LONGEST_PLAIN: Final = 256
"""Characters of the longest id that `published_frame` takes."""
_VARYING: Final = b'null,"timestamp":0,"id":"","cursor":""'


class EventTemplate(Struct, frozen=True, gc=False):
    """The JSON of an event before its data, and behind its cursor."""

    begin: bytes
    end: bytes


def template(topic: str, event: str, user_id: str | None) -> EventTemplate:
    """The template of the events with this name that a user publishes to a topic."""
    sample = messages.Event(topic, event, Raw(b"null"), 0, "", "", UNSET if user_id is None else user_id)
    begin, _, end = messages.encode(sample).rpartition(_VARYING)
    return EventTemplate(begin, end)


def ending(user_id: str | None) -> bytes:
    """What `template` has behind the cursor, for this user."""
    return b"}" if user_id is None else b',"userId":%b}' % _string(user_id)


def is_plain(id: str) -> bool:
    """Whether `published_frame` takes an id: it needs no escapes in JSON."""
    return id.isascii() and id.isprintable() and '"' not in id and "\\" not in id and 0 < len(id) <= LONGEST_PLAIN


def published_frame_in_python(
    begin: bytes, data: bytes, timestamp: int, position: int, epoch: str, end: bytes, id: str | None
) -> bytes:
    """The text frame of a template's event with this `data` (JSON). `timestamp` is in ms since the Unix epoch; the
    cursor is that of an event at `position`. An `id` needs no escapes in JSON; without one it is made of the
    position."""
    return frames.text(
        b'%b%b,"timestamp":%d,"id":"%b","cursor":"%b.%d"%b'
        % (begin, data, timestamp, (id or f"{position:x}").encode(), epoch.encode(), position, end)
    )


def ack_frame_in_python(id: str, timestamp: int, position: int, epoch: str) -> bytes:
    """The text frame that acknowledges a publish. Its parameters are as those of `published_frame`."""
    return frames.text(
        b'{"type":"ack","id":"%b","cursor":"%b.%d","timestamp":%d}'
        % (id.encode(), epoch.encode(), position, timestamp)
    )


published_frame: Final = compiled_or(published_frame_in_python, "published_frame")
"""In C it takes a quarter of the time."""
ack_frame: Final = compiled_or(ack_frame_in_python, "ack_frame")
