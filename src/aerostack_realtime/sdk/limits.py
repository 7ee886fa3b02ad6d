"""What the server refuses to read, checked before a frame is sent. No I/O."""

import re
from typing import Final

from aerostack_realtime.protocol.errors import BadMessage, TooLarge
from aerostack_realtime.protocol.messages import Limits

DEFAULT_LIMITS: Final = Limits(frame_bytes=64 * 1024, nesting=128)
"""The server's defaults, for a server that does not announce its limits."""

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


def check_limits(frame: bytes, limits: Limits) -> None:
    """Raises TooLarge or BadMessage for a JSON text that a server with these limits refuses."""
    if len(frame) > limits.frame_bytes:
        raise TooLarge(
            f"The message has {len(frame)} bytes; the server accepts {limits.frame_bytes}. Send less data, or a "
            "link to it."
        )
    if frame.count(b"[") + frame.count(b"{") <= limits.nesting:
        return
    levels = depth(frame)
    if levels > limits.nesting:
        raise BadMessage(
            f"The message is nested {levels} levels deep; the server accepts {limits.nesting}. Flatten its data."
        )


def depth(frame: bytes) -> int:
    """How many levels of objects and arrays a JSON text has."""
    level = deepest = 0
    for match in _BRACKETS.finditer(frame):
        if match.lastindex == 1:
            level += 1
            deepest = max(deepest, level)
        elif match.lastindex == 2:
            level -= 1
    return deepest
