"""What a node announces of its streams: those whose writers it waits for, and what other nodes may have lost."""

from collections.abc import Collection, Iterator

from aerostack_realtime.backplane.items import StreamState
from aerostack_realtime.channels.custom.holds import HoldQueues
from aerostack_realtime.channels.custom.streams import Streams


def announcements(
    streams: Streams,
    holds: HoldQueues,
    *,
    node: str,
    present: Collection[str],
    is_first: bool,
    lost_after: int,
    as_of: int,
) -> Iterator[StreamState]:
    """What `node` announces at the position `as_of`. The journal may have lost what followed `lost_after`.

    The first node speaks for those that are not present, and for streams that ended long ago. What waits for a
    commit is left out."""
    for stream in streams:
        is_own = stream.node == node or (is_first and stream.node not in present)
        if stream.visible and (is_own or stream.last > lost_after):
            yield stream.snapshot(as_of)
    events = holds.unsettled(lambda _: True)
    waiting = {(each.stream.topic, each.stream.id) for each in events if each.stream is not None}
    for stream in streams.ended_after(lost_after):
        if (stream.topic, stream.id) not in waiting:
            yield stream.snapshot(as_of)
    if is_first:
        for end in streams.ends(as_of):
            if (end.topic, end.id) not in waiting:
                yield end
