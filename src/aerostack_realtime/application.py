"""What answers requests: the WebSocket endpoint, the HTTP calls, the pages and the operators' console."""

import platform
import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from msgspec import Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.config import Settings
from aerostack_realtime.console import Console, console
from aerostack_realtime.gateway.explain.explainer import Explainer
from aerostack_realtime.gateway.explain.silence import SilentSubscriptions
from aerostack_realtime.gateway.http import api, static
from aerostack_realtime.gateway.http.admin import Admin
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.http.metrics import MetricsCall, Sources
from aerostack_realtime.gateway.http.middleware import surrounding
from aerostack_realtime.gateway.limits.connections import ConnectionSlot
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.batched_writes import WriteBatch, path_of
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.gateway.websocket.transport import Transport
from aerostack_realtime.gateway.websocket.upgrade import ConnectRequest
from aerostack_realtime.reload import Parts, Reloader

if TYPE_CHECKING:
    from aerostack_realtime.documents.service import Documents
    from aerostack_realtime.gateway.tracing import Tracing

VERSION: Final = version("aerostack-realtime")


class Application(Struct, frozen=True):
    """What answers requests."""

    endpoint: WebSocketEndpoint
    app: web.Application
    metrics: MetricsCall
    console: Console
    silence: SilentSubscriptions


class ApplicationBuilder(Struct, frozen=True):
    """Builds the application of a server from its parts."""

    settings: Settings
    parts: Parts
    proxies: Proxies
    reloader: Reloader
    tracing: "Tracing | None"
    documents: "Documents | None"
    batch: WriteBatch | None

    def build(self) -> Application:
        settings, parts = self.settings, self.parts
        endpoint = self._endpoint()
        metrics = self._metrics(endpoint)
        admin = Admin(lambda: endpoint.sessions, parts.revocations, parts.hub, parts.database, time.time)
        explainer = Explainer(project=settings.project, hub=parts.hub, database=parts.database, guard=parts.guard)
        callers = Callers(
            project=settings.project,
            authenticator=parts.authenticator,
            rates=parts.rates,
            proxies=self.proxies,
            counters=parts.hub.counters,
        )
        operators = console(
            settings,
            parts,
            endpoint=endpoint,
            explainer=explainer,
            callers=callers,
            admin=admin,
            proxies=self.proxies,
            version=VERSION,
        )
        silence = SilentSubscriptions(
            hub=parts.hub,
            feed=parts.database.changes,
            guard=parts.guard,
            sessions=lambda: endpoint.sessions,
            now=time.time,
        )
        app = self._app()
        app.add_routes([web.get("/api/realtime", endpoint.handle)])
        app.add_routes(self._calls(metrics, admin, explainer, callers))
        app.add_routes(static.routes(project=settings.project, examples=settings.open_access))
        if self.documents is not None:
            from aerostack_realtime.gateway.yjs.endpoint import PATH, DocumentEndpoint

            door = DocumentEndpoint(endpoint, self.documents, settings.project, settings.limits)
            app.add_routes([web.get(PATH, door.handle)])
        if settings.console.enabled:
            app.add_routes(operators.routes())
        return Application(endpoint, app, metrics, operators, silence)

    def _app(self) -> web.Application:
        traced = [] if self.tracing is None else [self.tracing.middleware]
        around = surrounding(self.parts.origins, self.proxies, self.parts.hub.counters)
        return web.Application(middlewares=[*traced, around], client_max_size=self.settings.limits.body_bytes)

    def _endpoint(self) -> WebSocketEndpoint:
        settings, parts = self.settings, self.parts
        services = Services(
            hub=parts.hub,
            database=parts.database,
            authenticator=parts.authenticator,
            guard=parts.guard,
            limits=settings.limits,
            now=time.monotonic,
            version=VERSION,
        )
        return WebSocketEndpoint(
            authenticator=parts.authenticator,
            origins=parts.origins,
            limits=settings.limits,
            project=settings.project,
            query_credentials=settings.query_credentials,
            compression=settings.compression,
            batch=self.batch,
            proxies=self.proxies,
            pending_sockets=parts.pending_sockets,
            open_session=partial(self._open_session, services),
            counters=parts.hub.counters,
            records=parts.hub.records,
        )

    def _open_session(
        self,
        services: Services,
        transport: Transport,
        identity: Identity | None,
        slot: ConnectionSlot,
        project: str,
        request: ConnectRequest,
    ) -> Session:
        links = None
        if self.settings.open_access:
            links = ExplanationLinks.of(request.scheme, request.headers.get(hdrs.HOST))
        return Session(
            services=services,
            transport=transport,
            identity=identity,
            project=project,
            slot=slot,
            links=links,
        )

    def _metrics(self, endpoint: WebSocketEndpoint) -> MetricsCall:
        pending_sockets = self.parts.pending_sockets
        return MetricsCall(
            Sources(
                hub=self.parts.hub,
                database=self.parts.database,
                connections=lambda: endpoint.connections,
                refused_sockets=lambda: pending_sockets.refused,
                build={
                    "version": VERSION,
                    "python": platform.python_version(),
                    "writes": path_of(self.batch),
                },
            )
        )

    def _calls(
        self, metrics: MetricsCall, admin: Admin, explainer: Explainer, callers: Callers
    ) -> list[web.RouteDef]:
        """The HTTP calls; `/metrics` is one of them unless it has a port of its own."""
        settings, parts = self.settings, self.parts
        return api.routes(
            project=settings.project,
            hub=parts.hub,
            database=parts.database,
            guard=parts.guard,
            admin=admin,
            explainer=explainer,
            callers=callers,
            reload=self.reloader.answer,
            proxies=self.proxies,
            limits=settings.limits,
            metrics=metrics if settings.metrics_port is None else None,
            version=VERSION,
        )
