"""What handles the frames of a connection."""

from collections.abc import Awaitable
from typing import Final, Protocol


class FrameHandler(Protocol):
    """Handles the frames of a connection: a session. `closed` is the code of the close frame it has sent."""

    @property
    def closed(self) -> int | None: ...

    def receive(self, frame: bytes) -> Awaitable[None] | None: ...
    def ahead(self, frame: bytes) -> None:
        """A text frame came that is received after the command that is awaited."""

    def leaving(self) -> None:
        """The client takes nothing more: awaited commands that only send to it may end."""

    def binary(self, payload: bytes) -> Awaitable[None] | None: ...
    def pong(self, payload: bytes) -> None: ...
    def control(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def lost(self) -> None: ...


class NullHandler:
    """The handler of a connection without a session, for example a refused one: it ignores everything."""

    closed = 0

    def receive(self, frame: bytes) -> None:
        pass

    def ahead(self, frame: bytes) -> None:
        pass

    def leaving(self) -> None:
        pass

    def binary(self, _payload: bytes) -> None:
        pass

    def pong(self, payload: bytes) -> None:
        pass

    def control(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        pass

    def lost(self) -> None:
        pass


NULL_HANDLER: Final = NullHandler()
