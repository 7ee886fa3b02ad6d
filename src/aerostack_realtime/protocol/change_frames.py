"""Frames of row changes, which run through a server by the million: put together from parts that stay the same."""

from typing import Final, get_args

from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import Operation

_OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)


class ChangeFrames:
    """The frames of one topic: the bytes of `frames.encode(messages.DbChange(…))`, for two thirds of its time."""

    def __init__(self, topic: str) -> None:
        head = b'{"type":"db_change","topic":' + messages.encode(topic)
        self._heads = {each: b'%b,"operation":"%b","data":' % (head, each.encode()) for each in _OPERATIONS}

    def frame(
        self,
        operation: Operation,
        data: bytes,
        old: bytes | None,
        timestamp: int,
        cursor: str,
        commit: str | None,
        *,
        commit_end: bool,
    ) -> bytes:
        """The frame of one change. Rows are JSON; the cursor and the commit are the database's, and in ASCII."""
        tail = f',"timestamp":{timestamp},"cursor":"{cursor}"'
        end = "" if commit is None else f',"commit":"{commit}"'
        if commit_end:
            end += ',"commitEnd":true'
        if old is None:
            return frames.text(self._heads[operation] + data + f"{tail}{end}}}".encode())
        return frames.text(
            b'%b%b%b,"old":%b%b}' % (self._heads[operation], data, tail.encode(), old, end.encode())
        )
