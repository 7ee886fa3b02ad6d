"""The socket of a session, as it sees it."""

from collections.abc import Callable
from typing import Protocol

from aerostack_realtime.gateway.websocket.repeated import RepeatedPublish


class Transport(Protocol):
    """The socket of a session, as in channels.fanout.subscriber.Subscriber; `hang_up` ends it after a close frame.
    `is_stalled` is whether more than STALLED_BYTES wait for its peer, or did when it was lost."""

    @property
    def write(self) -> Callable[[bytes], None]: ...

    @property
    def write_shared(self) -> Callable[[bytes], None] | None: ...

    @property
    def buffered(self) -> Callable[[], int]: ...

    @property
    def is_stalled(self) -> bool: ...

    repeated: RepeatedPublish | None
    """What takes the reads that repeat a publish. The transport hands them over before all other frames."""

    def hang_up(self) -> None: ...
