"""What the server refuses to read, checked before a frame is sent. No I/O."""

from typing import Final

from aerostack_realtime.protocol import nesting
from aerostack_realtime.protocol.errors import BadMessage, TooLarge
from aerostack_realtime.protocol.messages import Limits

DEFAULT_LIMITS: Final = Limits(frame_bytes=64 * 1024, nesting=nesting.DEFAULT_LEVELS)
"""The server's defaults, for a server that does not announce its limits."""


def check_limits(frame: bytes, limits: Limits) -> None:
    """Raises TooLarge or BadMessage for a JSON text that a server with these limits refuses."""
    if len(frame) > limits.frame_bytes:
        raise TooLarge(
            f"The message has {len(frame)} bytes; the server accepts {limits.frame_bytes}. Send less data, or a "
            "link to it."
        )
    if nesting.exceeds(frame, limits.nesting):
        raise BadMessage(
            f"The message is nested more than {limits.nesting} levels deep, which is what the server accepts. "
            "Flatten its data."
        )
