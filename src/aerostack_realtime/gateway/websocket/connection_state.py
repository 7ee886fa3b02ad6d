"""The life of a WebSocket connection."""

from enum import Enum, auto


class State(Enum):
    """The states of a connection; it moves down this list only."""

    OPEN = auto()
    """Frames are handled."""
    LOST = auto()
    """The connection is lost, and frames that came before are still handled."""
    CLOSING = auto()
    """A close frame was sent; what comes is read and dropped."""
    OVER = auto()
    """The session knows that the connection is gone."""
