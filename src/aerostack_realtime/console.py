"""The operators' console of a server, built from its parts."""

import time
from typing import Final

from aiohttp import web
from msgspec import Struct

from aerostack_realtime.access.operators import Operators
from aerostack_realtime.config import DEV_SECRET_KEY, Settings
from aerostack_realtime.gateway.console.calls import ConsoleCalls
from aerostack_realtime.gateway.console.figures import Figures
from aerostack_realtime.gateway.console.live import Live
from aerostack_realtime.gateway.console.parts import Parts as ViewParts
from aerostack_realtime.gateway.console.recent_log import RecentLog
from aerostack_realtime.gateway.console.sessions import OperatorSessions
from aerostack_realtime.gateway.console.views import Views
from aerostack_realtime.gateway.explain.explainer import Explainer
from aerostack_realtime.gateway.http import static
from aerostack_realtime.gateway.http.admin import Admin
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.reload import Parts

ADDRESS: Final = "/console/"


class Console(Struct, frozen=True):
    """`live` is a task of the server. `start` before the first request."""

    sessions: OperatorSessions
    live: Live
    log: RecentLog
    calls: ConsoleCalls

    async def start(self) -> None:
        """Raises AerostackError."""
        self.log.attach()
        await self.sessions.load()

    def stop(self) -> None:
        self.log.detach()

    def routes(self) -> list[web.RouteDef]:
        return [*self.calls.routes(), *static.console_routes()]


def console(
    settings: Settings,
    parts: Parts,
    *,
    endpoint: WebSocketEndpoint,
    explainer: Explainer,
    callers: Callers,
    admin: Admin,
    proxies: Proxies,
    version: str,
) -> Console:
    """The console of a server. Other nodes ask for its parts also where the page itself is off."""
    hub, database, guard = parts.hub, parts.database, parts.guard
    log = RecentLog()
    own = ViewParts(
        hub=hub,
        guard=guard,
        log=log,
        figures=Figures(hub, lambda: endpoint.connections),
        sessions=lambda: endpoint.sessions,
    )
    views = Views(hub=hub, database=database, guard=guard, parts=own)
    sessions = OperatorSessions(
        operators=Operators(settings.console.operators, settings.console.viewers),
        authenticator=parts.authenticator,
        revocations=parts.revocations,
        database=database,
        hours=settings.console.session_hours,
        now=time.time,
    )
    live = Live(hub=hub, views=views, is_valid=sessions.is_valid)
    calls = ConsoleCalls(
        project=settings.project,
        sessions=sessions,
        views=views,
        live=live,
        explainer=explainer,
        guard=guard,
        admin=admin,
        callers=callers,
        endpoint=endpoint,
        proxies=proxies,
        version=version,
        hint=DEV_SECRET_KEY if settings.open_access and DEV_SECRET_KEY in settings.secret_keys else None,
        nesting=settings.limits.nesting,
    )
    return Console(sessions, live, log, calls)
