"""Rosters: all members that the connections of one node make, sent to the others in parts."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from aerostack_realtime.backplane.items import Roster, RosterEntry, Track, Untrack

PART: Final = 500
"""Members in one item: some 50 KiB."""


class OwnRoster:
    """The members that this node has put into the journal, whether or not they have entered yet."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}

    def appended(self, item: Track | Untrack) -> Track | None:
        """This node puts `item` into the journal. Returns the track that it replaces or ends."""
        key = item.topic, item.connection
        before = self._tracks.get(key)
        if isinstance(item, Track):
            self._tracks[key] = item
        else:
            self._tracks.pop(key, None)
        return before

    def parts(self, place: Callable[[str, str], tuple[int, int]]) -> Iterator[Roster]:
        """The items that announce all of it, at least one. `place` is `Members.place` for this node."""
        entries = (
            RosterEntry(topic, connection, track.user_id, track.state, *place(topic, connection), track.own_member)
            for (topic, connection), track in self._tracks.items()
        )
        part = tuple(islice(entries, PART))
        while True:
            following = tuple(islice(entries, PART))
            yield Roster(part, last=not following)
            if not following:
                return
            part = following


class RosterParts:
    """The parts of rosters that have entered so far, by node."""

    def __init__(self) -> None:
        self._parts: dict[str, list[RosterEntry]] = {}

    def entered(self, node: str, item: Roster) -> list[RosterEntry] | None:
        """All entries, once the last part has entered."""
        entries = self._parts.pop(node, [])
        entries.extend(item.members)
        if item.last:
            return entries
        self._parts[node] = entries
        return None

    def forget(self, node: str | None = None) -> None:
        """Forget the parts of a node, or of all nodes."""
        if node is None:
            self._parts.clear()
        else:
            self._parts.pop(node, None)
