"""What waits for one subscriber that is slow and stays: as little as its policy allows.

`latest` keeps the newest event of each name and key, and the net change of each row. `drop` counts. Both keep
frames other than events (a gap, an error) and presence, one transition per member. docs/protocol.md §5 is the
promise.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from aerostack_realtime.protocol import frames, messages, topics
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.messages import Appended, DbChange, Event, Progress, Reply, Subscribe, Subscribed
from aerostack_realtime.protocol.presence import EVENTS, JOIN, LEAVE, UPDATE

MAX_KEY: Final = 16
"""Members of a key: those of a primary key, which nobody makes longer."""

_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Policy(Struct, frozen=True):
    """How a subscriber's events are reduced while it is slow. `key`: the members of `data` that name what an
    event, or a row, is about."""

    slow: Literal["latest", "drop"]
    key: tuple[str, ...] = ()


def policy(command: Subscribe) -> Policy | None:
    """The policy that a command (its topic canonical) asks for; None is `resume`. Raises BadMessage."""
    key = () if command.key is None else (command.key,) if isinstance(command.key, str) else tuple(command.key)
    if command.slow != "latest":
        if key:
            raise BadMessage('key says what "slow":"latest" keeps apart: ask for that too, or leave key out.')
        return None if command.slow == "resume" else Policy("drop")
    if len(key) > MAX_KEY:
        raise BadMessage(f"A key names at most {MAX_KEY} members; this one names {len(key)}.")
    if not key and topics.table_of(command.topic) is not None:
        raise BadMessage('On a table "slow":"latest" needs key, the column that names a row: its primary key.')
    return Policy("latest", key)


class Item(Struct, frozen=True):
    """A frame that is read. `key`: what its event or row is about; None when it is unknown or changes."""

    frame: bytes
    message: Reply
    key: tuple[bytes, ...] | None


def read(frame: bytes, key: tuple[str, ...]) -> Item:
    """Read a frame that the server wrote."""
    message = messages.decode_reply(frames.payload(frame))
    assert message is not None, "the server knows what it writes"
    about: tuple[bytes, ...] | None = ()
    if isinstance(message, Event):
        found = _object(message.data) if key else {}
        about = tuple(bytes(found.get(each, b"")) for each in key)
    elif isinstance(message, DbChange):
        about = _row_key(message.data, key)
        if message.operation == "UPDATE" and message.old is not UNSET and _row_key(message.old, key) != about:
            about = None
    return Item(frame, message, about)


def _object(data: Raw) -> Mapping[str, Raw]:
    try:
        return _members(data)
    except msgspec.ValidationError:
        return {}


def _row_key(row: Raw, key: tuple[str, ...]) -> tuple[bytes, ...] | None:
    found = _members(row)
    return tuple(bytes(found[each]) for each in key) if all(each in found for each in key) else None


class _Kept(Struct, frozen=True):
    """One frame that waits. `before` and `after` are the row as the subscriber has it and as it is now; None:
    there is none. Of a member `before` is None when the subscriber does not know it yet."""

    frame: bytes
    before: bytes | None = None
    after: bytes | None = None


class Backlog:
    """What waits for a subscriber under a policy. False when nothing does; `size` is how many bytes wait."""

    __slots__ = ("_kept", "_section", "cursor", "dropped", "policy", "size", "topic")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        self._section = 0
        self.dropped = 0
        self.topic = self.cursor = ""
        """Of the newest frame that was taken in."""
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._kept or self.dropped)

    @property
    def drops(self) -> bool:
        """Whether `give` will report dropped events."""
        return self.dropped > 0

    def take(self, item: Item) -> None:
        """Take in what comes next."""
        message = item.message
        if isinstance(message, Event | DbChange | Subscribed | Appended):
            self.topic, self.cursor = message.topic, message.cursor
        if isinstance(message, Appended):
            self._appended(item, message)
            return
        if isinstance(message, Event) and message.event in EVENTS:
            self._member(item, message)
        elif isinstance(message, Event) and message.stream is not UNSET:
            self._keep((self._section, "stream", message.id), _Kept(item.frame))
        elif self.policy.slow == "drop" and isinstance(message, Event | DbChange):
            self.dropped += 1
        elif isinstance(message, Event):
            self._keep((self._section, message.event, item.key), _Kept(item.frame))
        elif not (isinstance(message, DbChange) and self._row(item, message)):
            self._part(item.frame)

    def give(self) -> bytes:
        """Everything that waits, with the gap that was dropped, and let go of it."""
        given = b"".join(each.frame for each in self._kept.values())
        if self.dropped:
            gap = Subscribed(self.topic, self.cursor, recovered=False, dropped=self.dropped)
            given += frames.encode(gap)
        self._kept.clear()
        self._section = self.dropped = self.size = 0
        return given

    def _row(self, item: Item, change: DbChange) -> bool:
        """Fold a change into what waits of its row; whether it could be, which it can where the row before it
        is the row that the last one left. Otherwise the key names more than one row, or another than before."""
        if item.key is None:
            return False
        name = (self._section, "", item.key)
        before = None if change.operation == "INSERT" or change.old is UNSET else bytes(change.old)
        after = None if change.operation == "DELETE" else bytes(change.data)
        waiting = self._kept.get(name)
        if waiting is None:
            self._keep(name, _Kept(item.frame, before, after))
        elif waiting.after != before:
            return False
        elif waiting.before == after:
            self._forget(name)
        else:
            self._keep(name, _Kept(_folded(change, waiting.before, after), waiting.before, after))
        return True

    def _appended(self, item: Item, appended: Appended) -> None:
        """Join the pieces of a stream to those that wait."""
        name = (self._section, "stream", appended.id)
        waiting = self._kept.get(name)
        if waiting is None:
            self._keep(name, _Kept(item.frame))
            return
        before = messages.decode_reply(frames.payload(waiting.frame))
        if isinstance(before, Appended):
            data = joined(before.data, appended.data)
            message: Reply = replace(appended, n=before.n, data=data)
        else:
            assert isinstance(before, Event), "a stream begins with an event"
            data = joined(before.data, appended.data)
            assert data is not UNSET, "an event has data"
            progress = Progress(appended.to, appended.state or "open")
            message = replace(before, data=data, cursor=appended.cursor, stream=progress)
        self._keep(name, _Kept(frames.encode(message)))

    def _member(self, item: Item, event: Event) -> None:
        """Keep the newest transition of a member, as what it is to a subscriber that heard none of the others."""
        member = str(event.user_id).encode(), str(event.connection_id or "").encode()
        name = (self._section, event.event.partition(":")[0], member, None)
        waiting = self._kept.get(name)
        known = event.event != JOIN if waiting is None else waiting.before is not None
        if event.event == LEAVE and not known:
            self._forget(name)
            return
        transition = LEAVE if event.event == LEAVE else UPDATE if known else JOIN
        frame = item.frame
        if transition != event.event:
            frame = frames.encode(replace(event, event=transition))
        self._keep(name, _Kept(frame, b"" if known else None))

    def _part(self, frame: bytes) -> None:
        """Keep a frame as it is, in its place: nothing is folded across it."""
        self._keep((self._section,), _Kept(frame))
        self._section += 1

    def _keep(self, name: tuple[Any, ...], kept: _Kept) -> None:
        self._forget(name)
        self._kept[name] = kept
        self.size += len(kept.frame)

    def _forget(self, name: tuple[Any, ...]) -> None:
        gone = self._kept.pop(name, None)
        if gone is not None:
            self.size -= len(gone.frame)


def joined(first: Raw | UnsetType, second: Raw | UnsetType) -> Raw | UnsetType:
    """Two runs of pieces of one stream as one: strings or lists, in JSON."""
    if first is UNSET or second is UNSET:
        return second if first is UNSET else first
    before, after = bytes(first), bytes(second)
    if before[:1] == b'"':
        return Raw(before[:-1] + after[1:])
    separator = b"," if before != b"[]" and after != b"[]" else b""
    return Raw(before[:-1] + separator + after[1:])


def _folded(newest: DbChange, before: bytes | None, after: bytes | None) -> bytes:
    """One change from the row before to the row after, in the place of the newest; of no one transaction."""
    change = replace(
        newest,
        operation="INSERT" if before is None else "DELETE" if after is None else "UPDATE",
        data=Raw(before or b"") if after is None else Raw(after),
        old=UNSET if before is None else Raw(before),
        commit=UNSET,
        commit_end=UNSET,
    )
    return frames.encode(change)
