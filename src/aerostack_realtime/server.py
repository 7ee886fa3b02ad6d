"""The composition root: builds the parts, owns every task, starts and stops them in order."""

import asyncio
import logging
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime import config, interpreter, periodic
from aerostack_realtime import node as nodes
from aerostack_realtime.access.authentication import prepared
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.streaming import StreamLimits
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.config import Settings
from aerostack_realtime.console import Console, console
from aerostack_realtime.counters import Counters
from aerostack_realtime.database.base import Database
from aerostack_realtime.database.factory import claim
from aerostack_realtime.documents.compactor import DocumentRule
from aerostack_realtime.documents.service import Documents
from aerostack_realtime.gateway.explain.explainer import Explainer
from aerostack_realtime.gateway.explain.silence import SilentSubscriptions
from aerostack_realtime.gateway.http import api, static
from aerostack_realtime.gateway.http.admin import Admin, stored_revocations
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.http.metrics import DeliveryLatency, MetricsCall, Sources
from aerostack_realtime.gateway.http.middleware import surrounding
from aerostack_realtime.gateway.limits.connections import ConnectionSlot, PendingSockets
from aerostack_realtime.gateway.limits.token_bucket import HttpRateLimiter
from aerostack_realtime.gateway.listener import Listener
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.gateway.websocket.transport import Transport
from aerostack_realtime.gateway.websocket.upgrade import ConnectRequest
from aerostack_realtime.gateway.yjs.endpoint import PATH, DocumentEndpoint
from aerostack_realtime.node import Node, open_unless
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecords
from aerostack_realtime.reload import Parts, Reloader, access_of, log_bounds

if TYPE_CHECKING:
    from aerostack_realtime.gateway.tracing import Tracing

log = logging.getLogger(__name__)

VERSION: Final = version("aerostack-realtime")
STOP_SECONDS: Final = 3.0
"""How long clients have to take their close frame before the socket is cut."""


async def run(
    settings: Settings,
    *,
    ready: Callable[[str], None],
    stop: asyncio.Event,
    reload: asyncio.Event,
    reread: Callable[[], Settings],
    shared_port: bool = False,
) -> None:
    """Run one node until `stop` is set; `ready` is called with its address once it listens. When `reload` is
    set, `reread` reads the settings again, and what has changed is applied (reload.py). With
    `shared_port` other processes listen on the port as well.

    Raises SettingsError for settings that cannot be used, DatabaseUnusable when the database cannot be opened or
    has a server already, JournalUnusable when the backplane cannot be used, OSError when the address is taken, and
    an ExceptionGroup when a part of it has died.
    """
    config.check_backplane(settings)
    config.check_documents(settings)
    config.check_tracing(settings)
    with claim(settings.database) as claimed:

        def listening(url: str) -> None:
            claimed.announce(url)
            ready(url)

        # The server's own limits, which a reload changes.
        own = replace(settings, limits=copy(settings.limits))
        await _run(own, listening, stop, reload, reread, shared_port)


async def _run(
    settings: Settings,
    ready: Callable[[str], None],
    stop: asyncio.Event,
    reload: asyncio.Event,
    reread: Callable[[], Settings],
    shared_port: bool,
) -> None:
    interpreter.shorten_thread_turns()
    certificate = config.certificate(settings)
    rules = config.rules(settings)
    changes = ChangeFanOut()
    node = await open_unless(stop, settings, changes)
    if node is None:
        return
    database = node.database
    tracing = await _tracing() if settings.tracing else None
    try:
        counters = Counters(rule_of=rules.rule_of)
        hub = _hub(settings, node, counters)
        if tracing is not None:
            hub.trace(tracing)
        documents = _documents(settings, hub, database)
        await hub.start()
        memberships = Memberships(rules.memberships, database)
        changes.listeners = (memberships, hub, DeliveryLatency(counters, time.time))
        with suppress(AerostackError):  # the task that keeps them tries again, and reports it
            await memberships.load()
        access = access_of(settings)
        revocations = await stored_revocations(database)
        authenticator = await prepared(access, revocations, time.time)
        guard = Guard(rules, memberships, time.monotonic)
        proxies = Proxies(settings.trusted_proxies)
        pending_sockets = PendingSockets(settings.limits, proxies, time.monotonic)
        parts = Parts(
            hub=hub,
            database=database,
            changes=changes,
            guard=guard,
            authenticator=authenticator,
            revocations=revocations,
            origins=Origins(settings.origins, loopback=settings.loopback_origins),
            limits=settings.limits,
            pending_sockets=pending_sockets,
            rates=HttpRateLimiter(settings.limits, time.monotonic),
            certificate=certificate,
            sessions=lambda: endpoint.sessions,
        )
        reloader = Reloader(settings, access, parts, reread)
        application = _application(settings, parts, proxies, reloader, tracing, documents)
        endpoint, live = application.endpoint, application.console.live
        if settings.console.enabled:
            await application.console.start()
        listener = Listener(
            application.app,
            limits=settings.limits,
            pending_sockets=pending_sockets,
            shutdown_seconds=STOP_SECONDS,
            # Spans of connects are made of aiohttp's requests.
            upgrades=endpoint if tracing is None else None,
        )
        tls = None if certificate is None else certificate.context
        port = await listener.bind(settings.host, settings.port, tls, shared=shared_port)
        metrics_listener = await _metrics_listener(settings, application.metrics, pending_sockets)
        try:
            async with asyncio.TaskGroup() as tasks:
                owned = [
                    tasks.create_task(node.journal.run()),
                    tasks.create_task(hub.run()),
                    tasks.create_task(periodic.tick(hub, endpoint, listener)),
                    tasks.create_task(periodic.measure_lag(counters.loop_lag)),
                    tasks.create_task(periodic.prune(database.messages)),
                    tasks.create_task(_watch(database)),
                    tasks.create_task(reloader.run(reload)),
                    tasks.create_task(live.run()),
                ]
                if settings.open_access:
                    owned.append(tasks.create_task(application.silence.run()))
                if documents is not None:
                    owned.append(tasks.create_task(documents.run()))
                interpreter.freeze_garbage_collector()
                await _any(hub.caught_up, stop)
                if not stop.is_set():
                    await listener.start()
                    ready(_url(settings, port))
                await stop.wait()
                listener.stop_accepting()
                hub.flush()
                hub.goodbye()
                endpoint.close(close_codes.RESTART, "the server is restarting: connect again")
                await endpoint.ended(STOP_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await hub.drain()
                for task in owned:
                    task.cancel()
        finally:
            application.console.stop()
            closing = [listener.close()] + ([metrics_listener.close()] if metrics_listener is not None else [])
            await asyncio.gather(endpoint.ended(STOP_SECONDS), *closing)
    finally:
        await node.close()
        if tracing is not None:
            await tracing.close()


async def _any(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _hub(settings: Settings, node: Node, counters: Counters) -> Hub:
    loop = asyncio.get_running_loop()
    return Hub(
        journal=node.journal,
        changes=node.database.changes,
        store=node.database.messages,
        defer=loop.call_soon,
        later=loop.call_later,
        buffer_limit=settings.limits.buffer_bytes,
        presence_limit=settings.limits.presence_members,
        logs=Logs(log_bounds(settings), settings.log_bytes, counters),
        records=ConnectionRecords(time.time),
        streams=StreamLimits(
            settings.limits.stream_bytes, settings.limits.streams_per_connection, settings.limits.stream_seconds
        ),
        commits=node.cluster,
        keep=node.keep,
        info=nodes.info(settings, VERSION),
    )


def _documents(settings: Settings, hub: Hub, database: Database) -> Documents | None:
    """The documents of this node, if the settings name any."""
    rules = [
        DocumentRule(Pattern(each.topic), each.compact_bytes, each.idle_seconds) for each in settings.documents
    ]
    return Documents(rules, hub, database.messages) if rules else None


async def _tracing() -> "Tracing":
    """Imported when it is switched on: it needs the extra `otel`, and its import takes a third of a second."""
    from aerostack_realtime.gateway.tracing import Tracing, exporting

    return Tracing(await asyncio.to_thread(exporting, VERSION), asyncio.get_running_loop().call_soon)


def _url(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"


async def _watch(database: Database) -> None:
    """End the process when the database can no longer be served: a restart repairs more than silence."""
    raise await database.failed()


async def _metrics_listener(
    settings: Settings, metrics: MetricsCall, pending_sockets: PendingSockets
) -> Listener | None:
    """The listener of `metrics_port`, if that is set."""
    if settings.metrics_port is None:
        return None
    app = web.Application()
    app.add_routes([web.get("/metrics", metrics.answer)])
    listener = Listener(
        app, limits=settings.limits, pending_sockets=pending_sockets, shutdown_seconds=STOP_SECONDS
    )
    port = await listener.bind(settings.metrics_host, settings.metrics_port)
    await listener.start()
    log.info("metrics: http://%s:%d/metrics", settings.metrics_host, port)
    return listener


class Application(Struct, frozen=True):
    """What answers requests."""

    endpoint: WebSocketEndpoint
    app: web.Application
    metrics: MetricsCall
    console: Console
    silence: SilentSubscriptions


def _application(
    settings: Settings,
    parts: Parts,
    proxies: Proxies,
    reloader: Reloader,
    tracing: "Tracing | None",
    documents: Documents | None,
) -> Application:
    hub, database, guard, pending_sockets = parts.hub, parts.database, parts.guard, parts.pending_sockets
    authenticator, origins = parts.authenticator, parts.origins

    def open_session(
        transport: Transport,
        identity: Identity | None,
        slot: ConnectionSlot,
        project: str,
        request: ConnectRequest,
    ) -> Session:
        links = None
        if settings.open_access:
            links = ExplanationLinks.of(request.scheme, request.headers.get("Host"))
        return Session(
            transport=transport,
            identity=identity,
            project=project,
            version=VERSION,
            hub=hub,
            database=database,
            authenticator=authenticator,
            guard=guard,
            limits=settings.limits,
            now=time.monotonic,
            slot=slot,
            links=links,
        )

    endpoint = WebSocketEndpoint(
        authenticator=authenticator,
        origins=origins,
        limits=settings.limits,
        project=settings.project,
        query_credentials=settings.query_credentials,
        compression=settings.compression,
        proxies=proxies,
        pending_sockets=pending_sockets,
        open_session=open_session,
        counters=hub.counters,
        records=hub.records,
    )
    metrics = MetricsCall(
        Sources(
            hub=hub,
            database=database,
            connections=lambda: endpoint.connections,
            refused_sockets=lambda: pending_sockets.refused,
            build={"version": VERSION, "python": platform.python_version()},
        )
    )
    admin = Admin(lambda: endpoint.sessions, parts.revocations, hub, database, time.time)
    explainer = Explainer(project=settings.project, hub=hub, database=database, guard=guard)
    callers = Callers(
        project=settings.project,
        authenticator=authenticator,
        rates=parts.rates,
        proxies=proxies,
        counters=hub.counters,
    )
    routes = api.routes(
        project=settings.project,
        hub=hub,
        database=database,
        guard=guard,
        admin=admin,
        explainer=explainer,
        callers=callers,
        reload=reloader.answer,
        proxies=proxies,
        limits=settings.limits,
        metrics=metrics if settings.metrics_port is None else None,
        version=VERSION,
    )
    traced = [] if tracing is None else [tracing.middleware]
    app = web.Application(
        middlewares=[*traced, surrounding(origins, proxies, hub.counters)],
        client_max_size=settings.limits.body_bytes,
    )
    pages = static.routes(project=settings.project, examples=settings.open_access)
    app.add_routes([web.get("/api/realtime", endpoint.handle), *routes, *pages])
    if documents is not None:
        door = DocumentEndpoint(endpoint, documents, settings.project, settings.limits)
        app.add_routes([web.get(PATH, door.handle)])
    operators = console(
        settings,
        parts,
        endpoint=endpoint,
        explainer=explainer,
        callers=callers,
        admin=admin,
        proxies=proxies,
        version=VERSION,
    )
    if settings.console.enabled:
        app.add_routes(operators.routes())
    silence = SilentSubscriptions(
        hub=hub, feed=database.changes, guard=guard, sessions=lambda: endpoint.sessions, now=time.time
    )
    return Application(endpoint, app, metrics, operators, silence)
