"""The items of the journal as commit 4a0e762 wrote and read them, for nodes of two versions on one journal.

`journal_1.txt` holds batches of that version, each with the position that it was given.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

ITEMS_VERSION: Final = 1

Outcome = Literal["stored", "duplicate", "refused"]


class Item(Struct, frozen=True, array_like=True, gc=False):
    """The base of the union."""


class Publish(Item, frozen=True, tag="p"):
    topic: str
    event: str
    data: bytes
    user_id: str | None = None
    id: str | None = None
    persist: bool = False
    without: str | None = None
    stream: bool = False
    by_key: bool = False


class Append(Item, frozen=True, tag="x"):
    topic: str
    id: str
    n: int
    data: bytes
    state: Literal["", "complete", "cancelled", "failed"] = ""
    user_id: str | None = None
    by_server: bool = False
    by_key: bool = False


class CancelStream(Item, frozen=True, tag="c"):
    topic: str
    id: str
    user_id: str | None = None
    reason: str = ""


class Settlement(Struct, frozen=True, array_like=True, gc=False):
    position: int
    outcome: Outcome
    created_at: int = 0
    original: int = 0


class Settle(Item, frozen=True, tag="s"):
    settlements: tuple[Settlement, ...]


class Track(Item, frozen=True, tag="t"):
    topic: str
    connection: str
    user_id: str
    state: bytes


class Untrack(Item, frozen=True, tag="u"):
    topic: str
    connection: str


class RosterEntry(Struct, frozen=True, array_like=True, gc=False):
    topic: str
    connection: str
    user_id: str
    state: bytes
    since: int
    position: int


class Roster(Item, frozen=True, tag="r"):
    members: tuple[RosterEntry, ...]
    last: bool


class Hello(Item, frozen=True, tag="h"):
    name: str
    version: str
    items: int = ITEMS_VERSION


class Beat(Item, frozen=True, tag="b"):
    floor: int = 0
    digest: int = 0
    digest_at: int = 0
    bookmark: str = ""
    connections: int = 0
    lag_us: int = 0


class Bye(Item, frozen=True, tag="y"):
    """As it was."""


class Ask(Item, frozen=True, tag="q"):
    id: str
    kind: str
    payload: bytes


class Answer(Item, frozen=True, tag="a"):
    id: str
    payload: bytes


AnyItem = Publish | Append | CancelStream | Settle | Track | Untrack | Roster | Hello | Beat | Bye | Ask | Answer


class Batch(Struct, frozen=True, array_like=True, gc=False):
    node: str
    sequence: int
    items: tuple[AnyItem, ...]
    optional: tuple[int, ...] = ()


decode_batch = msgspec.msgpack.Decoder(Batch).decode
