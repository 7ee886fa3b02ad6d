"""The socket of a session, as it sees it."""

from collections.abc import Callable
from typing import Protocol


class Transport(Protocol):
    """The socket of a session, as in channels.audience.Subscriber; `hang_up` ends it after a close frame."""

    @property
    def write(self) -> Callable[[bytes], None]: ...

    @property
    def buffered(self) -> Callable[[], int]: ...

    def hang_up(self) -> None: ...
