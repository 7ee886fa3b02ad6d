"""The queue of entries: against a list."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from aerostack_realtime.database.postgres.feed.entry_queue import BLOCK, EntryQueue
from aerostack_realtime.database.postgres.feed.epochs import Position


class Placed(Struct, frozen=True):
    position: Position


@given(st.lists(st.tuples(st.integers(1, BLOCK), st.integers(0, BLOCK)), max_size=12), st.integers(0, 4 * BLOCK))
def test_a_queue_finds_what_a_list_finds(steps: list[tuple[int, int]], asked: int) -> None:
    queue, items = EntryQueue[Placed](), list[Placed]()
    number = 0
    for added, removed in steps:
        run = [Placed(Position(2 * (number + index), 0)) for index in range(added)]
        number += added
        queue.extend(run)
        items += run
        count = min(removed, len(items))
        if added % 2 or not count:
            queue.drop(count)
        else:
            queue.drop_until(items[count - 1].position)
        del items[:count]
    assert (list(queue), len(queue)) == (items, len(items))
    if items:
        assert queue.last == items[-1]
    position = Position(asked, 0)
    assert list(queue.after(position)) == [each for each in items if each.position > position]
    assert queue.newest(position) == max(
        (each for each in items if each.position <= position), key=lambda each: each.position, default=None
    )
