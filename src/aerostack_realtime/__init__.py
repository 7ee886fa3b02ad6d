"""Aerostack Realtime: channels, presence, message history and live rows, for Python programs.

    from aerostack_realtime import Aerostack

`aerostack_realtime.blocking.Aerostack` is the same for code without an event loop; the server is the command
`aerostack`. The manual is docs/python.md.

Each name is imported when it is used, because the commands and the server use none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aerostack_realtime.protocol.errors import AerostackError
    from aerostack_realtime.protocol.explanations import Explanation
    from aerostack_realtime.sdk.aerostack import Aerostack
    from aerostack_realtime.sdk.channel import Channel
    from aerostack_realtime.sdk.client import RealtimeClient
    from aerostack_realtime.sdk.document import Document
    from aerostack_realtime.sdk.live_table import LiveTable
    from aerostack_realtime.sdk.payload import Ack, HistoryMessage, Payload, PresentMember, QueryResult, RowChange
    from aerostack_realtime.sdk.read_stream import ReadStream
    from aerostack_realtime.sdk.write_stream import WriteStream

    __version__: str

_PLACES: Final = {
    "Ack": "sdk.payload",
    "Aerostack": "sdk.aerostack",
    "AerostackError": "protocol.errors",
    "Channel": "sdk.channel",
    "Document": "sdk.document",
    "Explanation": "protocol.explanations",
    "HistoryMessage": "sdk.payload",
    "LiveTable": "sdk.live_table",
    "Payload": "sdk.payload",
    "PresentMember": "sdk.payload",
    "QueryResult": "sdk.payload",
    "ReadStream": "sdk.read_stream",
    "RealtimeClient": "sdk.client",
    "RowChange": "sdk.payload",
    "WriteStream": "sdk.write_stream",
}
"""The module of each name within this package."""

__all__ = [
    "Ack",
    "Aerostack",
    "AerostackError",
    "Channel",
    "Document",
    "Explanation",
    "HistoryMessage",
    "LiveTable",
    "Payload",
    "PresentMember",
    "QueryResult",
    "ReadStream",
    "RealtimeClient",
    "RowChange",
    "WriteStream",
    "__version__",
]


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """The value of a public name. Imports its module at the first use."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("aerostack-realtime")
        elif (place := _PLACES.get(name)) is not None:
            value = getattr(import_module(f"{__name__}.{place}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
