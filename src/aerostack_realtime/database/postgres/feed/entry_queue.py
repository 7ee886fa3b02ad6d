"""Entries of the log in their order: a queue in which a position is found quickly, however long it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

from aerostack_realtime.database.postgres.feed.epochs import Position

BLOCK = 256
"""Entries of a block, to within one `extend`. Access to the middle of a deque takes time in proportion to its
length, so a long one is a deque of short ones."""


class _Placed(Protocol):
    @property
    def position(self) -> Position: ...


Item = TypeVar("Item")
Placed = TypeVar("Placed", bound=_Placed)


class EntryQueue(Generic[Placed]):
    """Appended to at the end, removed from at the beginning."""

    def __init__(self, items: Iterable[Placed] = ()) -> None:
        self._blocks: deque[deque[Placed]] = deque()
        self._length = 0
        for item in items:
            self.extend((item,))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Placed]:
        return chain.from_iterable(self._blocks)

    @property
    def last(self) -> Placed:
        return self._blocks[-1][-1]

    def extend(self, items: Sequence[Placed]) -> None:
        """Append at least one item."""
        if not self._blocks or len(self._blocks[-1]) >= BLOCK:
            self._blocks.append(deque())
        self._blocks[-1].extend(items)
        self._length += len(items)

    def drop(self, count: int) -> None:
        """Remove the first `count` items."""
        self._length -= count
        while count:
            block = self._blocks[0]
            if len(block) > count:
                for _ in range(count):
                    block.popleft()
                return
            count -= len(block)
            self._blocks.popleft()

    def drop_until(self, position: Position) -> None:
        """Remove the items at or before a position, of which there are few."""
        count = 0
        for block in self._blocks:
            if block[-1].position > position:
                count += _count_until(block, lambda each: each.position > position)
                break
            count += len(block)
        self.drop(count)

    def after(self, position: Position) -> Iterator[Placed]:
        """The items after a position."""
        block, index = self._find(position)
        if block == len(self._blocks):
            return iter(())
        rest = chain.from_iterable(islice(self._blocks, block + 1, None))
        return chain(islice(self._blocks[block], index, None), rest)

    def newest(self, position: Position) -> Placed | None:
        """The last item at or before a position."""
        block, index = self._find(position)
        if index > 0:
            return self._blocks[block][index - 1]
        return self._blocks[block - 1][-1] if block > 0 else None

    def _find(self, position: Position) -> tuple[int, int]:
        """The block and the index in it of the first item after a position."""
        blocks = self._blocks
        block = _count_until(blocks, lambda each: each[-1].position > position)
        if block == len(blocks):
            return block, 0
        return block, _count_until(blocks[block], lambda each: each.position > position)


def _count_until(items: deque[Item], reached: Callable[[Item], bool]) -> int:
    """How many items come before the first one for which `reached` is true; it is true for the later ones, too."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if reached(items[middle]):
            high = middle
        else:
            low = middle + 1
    return low
