"""Aerostack Realtime: channels, presence, message history and live rows, for Python programs.

    from aerostack_realtime import Aerostack

`aerostack_realtime.blocking.Aerostack` is the same for code without an event loop; the server is the command
`aerostack`.
"""

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.channel import Channel
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.live_table import Table
from aerostack_realtime.sdk.payload import Ack, HistoryMessage, Payload, PresentMember, QueryResult, RowChange

__all__ = [
    "Ack",
    "Aerostack",
    "AerostackError",
    "Channel",
    "HistoryMessage",
    "Payload",
    "PresentMember",
    "QueryResult",
    "RealtimeClient",
    "RowChange",
    "Table",
]
