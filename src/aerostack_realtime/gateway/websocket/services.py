"""What the sessions of a server share."""

from collections.abc import Callable
from dataclasses import dataclass

from aerostack_realtime.access.identity import Authenticator
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.rights import Guard


@dataclass(frozen=True, slots=True)
class Services:
    """One object for all sessions: each of them refers to it once. `now` is in seconds, `version` the server's."""

    hub: Hub
    database: Database
    authenticator: Authenticator
    guard: Guard
    limits: Limits
    now: Callable[[], float]
    version: str
