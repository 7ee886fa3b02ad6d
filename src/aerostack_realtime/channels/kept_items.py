"""Items of streams that a node cannot apply before other nodes have said what they know."""

from collections.abc import Sequence

from msgspec import Struct

from aerostack_realtime.backplane.items import Append, CancelStream
from aerostack_realtime.channels.custom.streams import Key


class KeptItem(Struct, frozen=True):
    """An item of a stream, its position and the node that appended it."""

    position: int
    node: str
    item: Append | CancelStream


class KeptItems:
    """Items by stream, in their order."""

    def __init__(self) -> None:
        self._items: dict[Key, list[KeptItem]] = {}

    def keep(self, position: int, node: str, item: Append | CancelStream) -> None:
        self._items.setdefault((item.topic, item.id), []).append(KeptItem(position, node, item))

    def drop_after(self, position: int) -> None:
        """The journal lost what followed a position."""
        self._items = {
            key: [each for each in kept if each.position <= position] for key, kept in self._items.items()
        }

    def take(self, key: Key) -> Sequence[KeptItem]:
        return self._items.pop(key, ())

    def take_ends(self) -> list[KeptItem]:
        """Take everything out; the items that may have ended a stream."""
        items, self._items = self._items, {}
        found = [each for kept in items.values() for each in kept]
        return [each for each in found if isinstance(each.item, CancelStream) or each.item.state]
