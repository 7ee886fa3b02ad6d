"""What has to hold over all nodes of a run, whatever was done to the journal meanwhile."""

from bisect import bisect_right
from itertools import pairwise

from aerostack_realtime.backplane.items import AnyItem
from tests.contract.backplane.node import Entry, Node


def violations(*nodes: Node) -> list[str]:
    """Everything that contradicts the contract of the journal; each check is linear in what was handed over."""
    found = [text for node in nodes for text in (*_order(node), *_own(node), *_foreign(node, nodes))]
    found += _agreement(nodes)
    for one in nodes:
        for other in nodes:
            if one is not other:
                found += _absent(one, other)
    return found


def _order(node: Node) -> list[str]:
    found = []
    for before, after in pairwise(node.heard.entries):
        if after.position <= before.position:
            found.append(f"{node.journal.node}: position {after.position} follows {before.position}")
        if after.at < before.at:
            found.append(f"{node.journal.node}: time goes back at {after.position}")
    for began in node.heard.began_calls:
        follows = node.heard.entries[began.after : began.after + 1]
        if began.last < began.since or (follows and follows[0].position <= began.last):
            found.append(f"{node.journal.node}: began({began.since}, {began.until}) is out of order")
    return found


def _own(node: Node) -> list[str]:
    """Every accepted item was delivered once, in the order of the appends; a refused one never."""
    own = [entry.item for entry in node.heard.entries if entry.node == node.journal.node]
    found = []
    if own != node.accepted:
        missing = [item for item in node.accepted if item not in own]
        found.append(
            f"{node.journal.node}: {len(own)} of {len(node.accepted)} were delivered, missing {missing[:3]}"
        )
    refused = set(node.refused)
    found += [f"{node.journal.node}: {item} was refused and entered" for item in own if item in refused]
    return found


def _foreign(node: Node, nodes: tuple[Node, ...]) -> list[str]:
    """What another node appended comes in its order, and at most once between two gaps: what the journal lost
    before its own node had read it is appended again, and comes again."""
    found = []
    gaps = [began.after for began in node.heard.began_calls]
    for other in nodes:
        places = {item: place for place, item in enumerate(other.accepted)}
        order = [
            (bisect_right(gaps, index), places.get(entry.item, -1))
            for index, entry in enumerate(node.heard.entries)
            if entry.node == other.journal.node
        ]
        repeats = any(before[0] == after[0] and after[1] <= before[1] for before, after in pairwise(order))
        if repeats or any(place == -1 for _, place in order):
            found.append(f"{node.journal.node}: the items of {other.journal.node} repeat or changed their order")
    return found


def _agreement(nodes: tuple[Node, ...]) -> list[str]:
    """The same position is the same item on all nodes."""
    known: dict[int, tuple[str, AnyItem]] = {}
    found = []
    for node in nodes:
        for entry in node.heard.entries:
            what = (entry.node, entry.item)
            if known.setdefault(entry.position, what) != what:
                found.append(f"{node.journal.node}: position {entry.position} is another item elsewhere")
    return found


def _absent(node: Node, other: Node) -> list[str]:
    """What `other` was handed and `node` was not lies inside a gap that was reported to `node`.

    An item that entered on both, at two positions, was lost by the journal and appended again: it lies inside a
    gap that was reported to the one that was handed it first.
    """
    if not node.heard.entries:
        return []
    positions = {entry.position for entry in node.heard.entries}
    first, last = node.heard.entries[0].position, node.heard.entries[-1].position
    gaps = [(began.since, began.last) for began in node.heard.began_calls]
    items = {entry.item for entry in node.heard.entries}

    def excused(entry: Entry) -> bool:
        return any(since < entry.position <= until for since, until in gaps) or entry.item in items

    missing = [
        entry.position
        for entry in other.heard.entries
        if first <= entry.position <= last and entry.position not in positions and not excused(entry)
    ]
    return [
        f"{node.journal.node}: {position} of {other.journal.node} is absent without a gap" for position in missing
    ]
