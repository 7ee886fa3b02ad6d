"""Aerostack Realtime: channels, presence, message history and live rows, for Python programs.

    from aerostack_realtime import Aerostack

`aerostack_realtime.blocking.Aerostack` is the same for code without an event loop; the server is the command
`aerostack`. The manual is docs/python.md.
"""

from importlib.metadata import version

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

__version__ = version("aerostack-realtime")

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
