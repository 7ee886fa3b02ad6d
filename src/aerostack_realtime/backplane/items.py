"""The items of the journal: a closed union of frozen structs, encoded as msgpack arrays with a tag.

An item says what a node decided or saw; what follows from it is computed by every node alike from the order of
the items (channels/custom). Positions are those that the journal gave to earlier items. All topics are
canonical.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

ITEMS_VERSION: Final = 1
"""The version of this union. A node announces it in its Hello. An item that a node does not know is skipped if the
sender marked it optional (see `Batch`); otherwise that node leaves the cluster. Two adjacent versions never need
that."""

Outcome = Literal["stored", "duplicate", "refused"]


class Item(Struct, frozen=True, array_like=True, gc=False):
    """The base of the union; `tag` is its first field on the wire."""


class Publish(Item, frozen=True, tag="p"):
    """A node accepted an event on a custom channel, with `data` (JSON).

    `id` is the publisher's, None when it named none. `without` is the connection that does not receive it. With
    `persist` the event waits, on every node, for its Settle. With `stream` the event is not finished: it opens a
    stream, which Append items continue, or finds out how far one is; `by_key`: its writer has a secret key.
    `traceparent` is passed on to subscribers. With `compacts`, a position, it replaces the stored messages of the
    same event up to there, but for those at the positions `keeps`. With `continues` the appending node knows the
    stream; a node that does not, lacks it.
    """

    topic: str
    event: str
    data: bytes
    user_id: str | None = None
    id: str | None = None
    persist: bool = False
    without: str | None = None
    stream: bool = False
    by_key: bool = False
    traceparent: str | None = None
    compacts: int = 0
    continues: bool = False
    keeps: tuple[int, ...] = ()


class Append(Item, frozen=True, tag="x"):
    """A writer appends a piece to a stream, ends the stream, or both.

    `n` is how many pieces the writer has sent before; `data` is JSON, b"" for no piece; `state` is the final state
    ("" while the stream is open). `by_server` is set by a node that ends the stream of a writer that is gone.
    """

    topic: str
    id: str
    n: int
    data: bytes
    state: Literal["", "complete", "cancelled", "failed"] = ""
    user_id: str | None = None
    by_server: bool = False
    by_key: bool = False


class CancelStream(Item, frozen=True, tag="c"):
    """A user asks to stop a stream; its writer receives `reason`."""

    topic: str
    id: str
    user_id: str | None = None
    reason: str = ""


class StreamState(Item, frozen=True, tag="m"):
    """All that the appending node knows of a stream, for nodes that know less of it.

    The content is that of the items up to the position `as_of`, or what is stored. `opened` is the position of the
    opening, `timestamp` its time in ms since the Unix epoch. `by_key` is None when that is not known. `owner` is
    the node that waits for the stream's writer. `ended` is the position of the end; 0 while it is open, and when
    that is not known.
    """

    topic: str
    id: str
    event: str
    data: bytes
    n: int
    state: Literal["open", "complete", "cancelled", "failed"]
    as_of: int
    opened: int
    timestamp: int
    owner: str
    persist: bool = False
    user_id: str | None = None
    by_key: bool | None = None
    ended: int = 0


class Settlement(Struct, frozen=True, array_like=True, gc=False):
    """The result of the publish at `position`.

    `created_at` is in ms since the Unix epoch. `original` is the position of the message that a duplicate
    repeats. Nodes also report the repeats of ephemeral publishes, although every node recognises them by its
    receipts: a node that starts may not know the original.
    """

    position: int
    outcome: Outcome
    created_at: int = 0
    original: int = 0


class Settle(Item, frozen=True, tag="s"):
    """The results of persisted publishes; they are released in the order of their channel.

    Without any it says that the node stores what enters after it under a licence that it got before it. Other
    nodes ignore that.
    """

    settlements: tuple[Settlement, ...]


class Track(Item, frozen=True, tag="t"):
    """A connection of the appending node is a member of a channel, with `state` (JSON).

    With `own_member` it is a member of its own; otherwise it belongs to the member of its user.
    """

    topic: str
    connection: str
    user_id: str
    state: bytes
    own_member: bool = False


class Untrack(Item, frozen=True, tag="u"):
    """A connection of the appending node is no longer a member of a channel."""

    topic: str
    connection: str


class RosterEntry(Struct, frozen=True, array_like=True, gc=False):
    """A connection that is a member, as in its Track.

    `since` is when its member joined, in ms since the Unix epoch; `position` is that of its Track. Both are 0 when
    the Track has not entered yet.
    """

    topic: str
    connection: str
    user_id: str
    state: bytes
    since: int
    position: int
    own_member: bool = False


class Roster(Item, frozen=True, tag="r"):
    """All members that the appending node's own connections make, as of this item, in parts.

    It replaces what was known of that node when `last` is true; the parts of one roster follow each other in the
    order of their node. A node appends one when another says Hello and when the journal began again.
    """

    members: tuple[RosterEntry, ...]
    last: bool


class Hello(Item, frozen=True, tag="h"):
    """A node joined under the name `name`, with the software version `version` and its items' version.

    With `asks` every node that is alive answers it with a Roster. Nodes say it without when the journal began
    again: what was lost may have declared them dead.
    """

    name: str
    version: str
    items: int = ITEMS_VERSION
    asks: bool = True


class Beat(Item, frozen=True, tag="b"):
    """A node is alive; appended once a second.

    `floor` is the position below which publish receipts are forgotten by everyone from this item on, unless an
    earlier item announced a higher one; the journal is trimmed to it only after this item entered. `digest` is
    a hash of the node's state at the position `digest_at`: it shows when nodes diverge. `bookmark` is the
    node's place in the change feed, opaque to the others. `connections` and `lag_us` are for operators.
    """

    floor: int = 0
    digest: int = 0
    digest_at: int = 0
    bookmark: str = ""
    connections: int = 0
    lag_us: int = 0


class Bye(Item, frozen=True, tag="y"):
    """A node leaves. Its members lapse like those of a dead node, unless they reconnect elsewhere before."""


class Ask(Item, frozen=True, tag="q"):
    """A question or an instruction to all nodes, `payload` is JSON; `kind` names it. Nodes reply with an Answer
    of the same `id`, an instruction is carried out."""

    id: str
    kind: str
    payload: bytes


class Answer(Item, frozen=True, tag="a"):
    """A node's reply to an Ask; `payload` is JSON."""

    id: str
    payload: bytes


AnyItem = (
    Publish
    | Append
    | CancelStream
    | StreamState
    | Settle
    | Track
    | Untrack
    | Roster
    | Hello
    | Beat
    | Bye
    | Ask
    | Answer
)
OPTIONAL: Final = (StreamState,)
"""Items that a node of the previous version may skip."""
SIGNS: Final = (Hello, Beat, Bye)
"""Items that a journal without room takes as well: without them its time does not advance, and no node announces
up to where it may be trimmed."""


class Batch(Struct, frozen=True, array_like=True, gc=False):
    """What one append of an engine carries: items of one node, numbered so that a repeated append is ignored.

    `node` is unique for each start of a node; `sequence` counts its batches from 1. `optional` are the indexes of
    items that a node of another version may skip.
    """

    node: str
    sequence: int
    items: tuple[AnyItem, ...]
    optional: tuple[int, ...] = ()


encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_item: Final[Callable[[bytes | Raw], AnyItem]] = msgspec.msgpack.Decoder(AnyItem).decode
