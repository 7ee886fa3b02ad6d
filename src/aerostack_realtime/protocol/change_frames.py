"""Frames of row changes, which run through a server by the million: put together from parts that stay the same."""

from typing import Final, get_args

from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import Operation

_OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)
_USUAL: Final = 2048
_HEADERS: Final = tuple(frames.header(frames.TEXT, size) for size in range(_USUAL))
"""Of frames of usual sizes: making a header takes longer than finding it."""


class ChangeFrames:
    """The frames of one topic: the bytes of `frames.encode(messages.DbChange(…))`, for a third of its time.

    Changes come by transactions, so what is the same for a transaction is kept for the next change.
    """

    def __init__(self, topic: str) -> None:
        head = b'{"type":"db_change","topic":' + messages.encode(topic)
        self._heads = {each: b'%b,"operation":"%b","data":' % (head, each.encode()) for each in _OPERATIONS}
        self._commit: str | None = None
        self._timestamp: int | None = None
        self._before = self._after = ""
        """What comes before the cursor of a change and after it, of this commit."""

    def frame(
        self,
        operation: Operation,
        data: bytes,
        old: bytes | None,
        timestamp: int,
        cursor: str,
        commit: str | None,
        commit_end: bool = False,
    ) -> bytes:
        """The frame of one change. Rows are JSON; the cursor and the commit are the database's, and in ASCII."""
        if timestamp != self._timestamp or commit != self._commit:
            self._timestamp, self._commit = timestamp, commit
            self._before = f',"timestamp":{timestamp},"cursor":"'
            self._after = "}" if commit is None else f',"commit":"{commit}"}}'
        head = self._heads[operation]
        if old is not None or commit_end:
            return self._long_frame(head, data, old, cursor, commit_end)
        tail = f'{self._before}{cursor}"{self._after}'.encode()
        size = len(head) + len(data) + len(tail)
        header = _HEADERS[size] if size < _USUAL else frames.header(frames.TEXT, size)
        return b"".join((header, head, data, tail))

    def _long_frame(self, head: bytes, data: bytes, old: bytes | None, cursor: str, commit_end: bool) -> bytes:
        before = f'{self._before}{cursor}"'.encode()
        between = b"" if old is None else b',"old":' + old
        after = f'{self._after[:-1]},"commitEnd":true}}' if commit_end else self._after
        return frames.text(b"".join((head, data, before, between, after.encode())))
