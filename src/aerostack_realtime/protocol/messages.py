"""The messages of the wire as closed unions of structs: `Command` from a client, `Reply` from the server.

`data` and `state` stay `msgspec.Raw`: the server passes them from socket to socket without parsing them.
Field meanings are those of docs/protocol.md §§3-4.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from aerostack_realtime.protocol import envelope
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, OutOfStep, UnknownType
from aerostack_realtime.protocol.nesting import DEFAULT_LEVELS, MAX_LEVELS, exceeds

Operation = Literal["INSERT", "UPDATE", "DELETE"]
Filter = dict[str, Any]
"""`{column: value}`, as a client sent it; channels.views gives it a meaning."""
MemberKind = Literal["user", "connection"]
"""What a member of a channel is: a user with all of its connections, or one connection."""
Slow = Literal["resume", "latest", "drop"]
"""How a subscription treats a slow client; see channels.fanout.backlog."""
StreamState = Literal["open", "complete", "cancelled", "failed"]
"""The state of a stream; all but `open` are final."""
End = Literal["complete", "cancelled", "failed"]
Count = Annotated[int, Meta(ge=0)]
Streams = bool | dict[str, Count]
"""Whether a subscriber receives streams while they grow. A mapping names the streams that it has, by id, and how
many pieces of each."""


class _Message(Struct, frozen=True, tag_field="type", rename="camel", omit_defaults=False, gc=False):
    pass


class Subscribe(_Message, frozen=True, tag="subscribe"):
    topic: str
    filter: Filter | None = None
    since: str | None = None
    snapshot: Raw = Raw(b"null")
    presence: bool = True
    slow: Slow = "resume"
    key: str | list[str] | None = None
    streams: Streams = False
    history: Annotated[int, Meta(ge=1)] | Literal["all"] | None = None
    advice: bool = False
    id: str | UnsetType = UNSET


class Unsubscribe(_Message, frozen=True, tag="unsubscribe"):
    topic: str
    id: str | UnsetType = UNSET


class Publish(_Message, frozen=True, tag="publish"):
    """`compacts`: the message replaces the persisted ones of the same event up to this cursor."""

    topic: str
    event: str
    data: Raw = Raw(b"null")
    persist: bool = False
    id: str | UnsetType = UNSET
    echo: bool = True
    stream: bool = False
    ref: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    compacts: str | UnsetType = UNSET


class Append(_Message, frozen=True, tag="append"):
    """`id` is the stream's, `n` how many pieces its writer has sent before; without `data` there is no piece. The
    answer repeats `ref`."""

    topic: str
    id: str
    n: Count
    data: Raw = Raw(b"null")
    state: End | None = None
    ref: str | UnsetType = UNSET


class Cancel(_Message, frozen=True, tag="cancel"):
    """`id` is the stream's. The answer repeats `ref`."""

    topic: str
    id: str
    reason: str = ""
    ref: str | UnsetType = UNSET


class Track(_Message, frozen=True, tag="track"):
    """With `per` "connection" the connection is a member of its own, otherwise it belongs to that of its user."""

    topic: str
    state: dict[str, Any]
    id: str | UnsetType = UNSET
    per: MemberKind | UnsetType = UNSET


class Untrack(_Message, frozen=True, tag="untrack"):
    topic: str
    id: str | UnsetType = UNSET


class AskPresence(_Message, frozen=True, tag="presence"):
    topic: str
    id: str


class Auth(_Message, frozen=True, tag="auth"):
    token: str


class Chat(_Message, frozen=True, tag="chat"):
    room_id: str
    text: str
    metadata: Raw = Raw(b"null")


class Ping(_Message, frozen=True, tag="ping"):
    pass


Command = Subscribe | Unsubscribe | Publish | Append | Cancel | Track | Untrack | AskPresence | Auth | Chat | Ping


class Limits(Struct, frozen=True, rename="camel"):
    """What a server reads in one frame: `frame_bytes` in UTF-8, and `nesting` levels of objects and arrays."""

    frame_bytes: int
    nesting: int


class Connected(_Message, frozen=True, tag="connected"):
    """`limits` is absent from servers that do not announce them."""

    connection_id: str
    user_id: str | None
    heartbeat: int
    version: str
    limits: Limits | UnsetType = UNSET


class Subscribed(_Message, frozen=True, tag="subscribed"):
    """`column_types`: the types of columns whose strings represent other values than text. `history`: how many of
    the newest stored messages follow at once."""

    topic: str
    cursor: str
    recovered: bool | None
    id: str | UnsetType = UNSET
    dropped: int | UnsetType = UNSET
    column_types: dict[str, str] | UnsetType = UNSET
    history: int | UnsetType = UNSET


class Unsubscribed(_Message, frozen=True, tag="unsubscribed"):
    topic: str
    reason: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Progress(Struct, frozen=True):
    """How far a stream is: `n` pieces have entered."""

    n: int
    state: StreamState


class Event(_Message, frozen=True, tag="event"):
    """`stream`, for subscribers with `streams`: `data` is what there is so far of a stream. `connection_id` is set
    in presence events about a member that is a connection. `traceparent` is that of its publish, or of the
    span that the server recorded for it."""

    topic: str
    event: str
    data: Raw
    timestamp: int
    id: str
    cursor: str
    user_id: str | UnsetType = UNSET
    snapshot: bool | UnsetType = UNSET
    stream: Progress | UnsetType = UNSET
    connection_id: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


class Appended(_Message, frozen=True, tag="append"):
    """A stream grew: `data` are its pieces from number `n` up to `to`, joined. `state` is set with its end."""

    topic: str
    id: str
    n: int
    to: int
    cursor: str
    data: Raw | UnsetType = UNSET
    state: End | UnsetType = UNSET


class StreamCancelled(_Message, frozen=True, tag="cancel"):
    """To the writer of a stream: it was cancelled."""

    topic: str
    id: str
    user_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ChatMessage(_Message, frozen=True, tag="chat_message"):
    """An `Event` named `chat_message`, as clients receive it that send `chat`."""

    topic: str
    event: str
    data: Raw
    timestamp: int
    id: str
    cursor: str
    user_id: str | UnsetType = UNSET


class DbChange(_Message, frozen=True, tag="db_change"):
    topic: str
    operation: Operation
    data: Raw
    timestamp: int
    cursor: str
    old: Raw | UnsetType = UNSET
    commit: str | UnsetType = UNSET
    commit_end: bool | UnsetType = UNSET


class Snapshot(_Message, frozen=True, tag="snapshot"):
    """`numbers`: the columns whose strings stand for numbers."""

    topic: str
    rows: list[Raw]
    cursor: str
    last: bool
    id: str | UnsetType = UNSET
    numbers: list[str] | UnsetType = UNSET


class Member(Struct, frozen=True, rename="camel"):
    """A present user, or with `connection_id` a present connection. `since` is when it joined, in milliseconds
    since the Unix epoch."""

    user_id: str
    state: Raw
    since: int
    connection_id: str | UnsetType = UNSET


class Presence(_Message, frozen=True, tag="presence"):
    topic: str
    members: list[Member]
    id: str


class Ack(_Message, frozen=True, tag="ack"):
    id: str
    cursor: str | UnsetType = UNSET
    timestamp: int | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    n: int | UnsetType = UNSET
    state: StreamState | UnsetType = UNSET
    ref: str | UnsetType = UNSET


class Error(_Message, frozen=True, tag="error"):
    code: str
    message: str
    retryable: bool
    topic: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    n: int | UnsetType = UNSET
    ref: str | UnsetType = UNSET

    @classmethod
    def of(
        cls,
        error: AerostackError,
        topic: str | UnsetType = UNSET,
        id: str | UnsetType = UNSET,
        ref: str | UnsetType = UNSET,
    ) -> "Error":
        n = error.n if isinstance(error, OutOfStep) else UNSET
        return cls(error.code, error.message, error.retryable, topic, id, n, ref)


class Authenticated(_Message, frozen=True, tag="authenticated"):
    user_id: str


class Pong(_Message, frozen=True, tag="pong"):
    pass


class Advice(_Message, frozen=True, tag="advice"):
    """In development: a hint about a subscription, for the person who develops."""

    topic: str
    message: str


Reply = (
    Connected
    | Subscribed
    | Unsubscribed
    | Event
    | Appended
    | StreamCancelled
    | ChatMessage
    | DbChange
    | Snapshot
    | Presence
    | Ack
    | Error
    | Authenticated
    | Pong
    | Advice
)


COMMAND_TYPES: Final = frozenset(str(command.__struct_config__.tag) for command in get_args(Command))
REPLY_TYPES: Final = frozenset(str(reply.__struct_config__.tag) for reply in get_args(Reply))
_decode_command: Callable[[bytes], Command] = msgspec.json.Decoder(Command).decode
_decode_reply: Callable[[bytes | str], Reply] = msgspec.json.Decoder(Reply).decode
encode = msgspec.json.Encoder().encode
"""The JSON text of any message, as bytes."""


class InvalidCommand(Exception):
    """A frame that is not a command. `reply` is the error to answer, with the frame's topic and id if any."""

    def __init__(self, error: AerostackError, topic: str | UnsetType = UNSET, id: str | UnsetType = UNSET) -> None:
        super().__init__(error.message)
        self.reply = Error.of(error, topic, id)


def decode_command(frame: bytes, nesting: int = DEFAULT_LEVELS) -> Command:
    """The command in a text frame of at most `nesting` levels. Raises InvalidCommand."""
    if len(frame) > 2 * nesting and exceeds(frame, nesting):  # JSON needs two bytes for each level
        names = (UNSET, UNSET) if exceeds(frame, MAX_LEVELS) else envelope.names(frame)
        raise InvalidCommand(too_deep(nesting), *names)
    try:
        if not frame.isascii():
            frame.decode()  # msgspec does not look inside the strings of a Raw
        return _decode_command(frame)
    except msgspec.ValidationError as invalid:
        kind = envelope.read(frame).type
        error: AerostackError
        if isinstance(kind, str) and kind not in COMMAND_TYPES:
            error = UnknownType(f"There is no command of type {kind[:64]!r}; see docs/protocol.md §3.")
        else:
            error = BadMessage(f"{str(invalid)[:300]}; see docs/protocol.md §3.")
        raise InvalidCommand(error, *envelope.names(frame)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise InvalidCommand(BadMessage(f"A frame is one JSON object in UTF-8: {malformed}.")) from None


def too_deep(nesting: int) -> BadMessage:
    """The error for JSON of more than `nesting` levels."""
    return BadMessage(f"The JSON is nested deeper than {nesting} levels; flatten its data.")


def error_for(frame: bytes, error: AerostackError) -> Error:
    """The `error` to answer to a frame that is not decoded; it names the frame's topic and id if there are any."""
    return Error.of(error, *envelope.names(frame))


def decode_reply(frame: bytes | str) -> Reply | None:
    """The message in a frame from the server; None for a type this version does not know.

    Raises BadMessage when the frame is not of the protocol.
    """
    try:
        return _decode_reply(frame)
    except msgspec.ValidationError as invalid:
        kind = envelope.read(frame).type
        if isinstance(kind, str) and kind not in REPLY_TYPES:
            return None
        raise BadMessage(f"The server sent a frame that is not of the protocol: {invalid}.") from invalid
    except msgspec.DecodeError as malformed:
        raise BadMessage(f"The server sent a frame that is not JSON: {malformed}.") from malformed
