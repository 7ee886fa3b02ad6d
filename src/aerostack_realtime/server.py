"""The composition root: builds the parts, owns every task, starts and stops them in order."""

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from msgspec.structs import replace

from aerostack_realtime import config, interpreter, periodic
from aerostack_realtime import node as nodes
from aerostack_realtime.access.authentication import prepared
from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.access.rules import Rules
from aerostack_realtime.application import VERSION, Application, ApplicationBuilder
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.parts import HubOptions
from aerostack_realtime.channels.stream_limits import StreamLimits
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.coalescing import Coalescing, Deferred
from aerostack_realtime.config import Settings, SettingsError
from aerostack_realtime.counters import Counters
from aerostack_realtime.database.base import Database
from aerostack_realtime.database.factory import claim
from aerostack_realtime.gateway.http.admin import stored_revocations
from aerostack_realtime.gateway.http.metrics import DeliveryLatency, MetricsCall
from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.token_bucket import HttpRateLimiter
from aerostack_realtime.gateway.listener import Listener
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.batched_writes import WriteBatch, open_batch
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.node import Node, open_unless
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecords
from aerostack_realtime.reload import Parts, Reloader, access_of, log_bounds

if TYPE_CHECKING:
    from aerostack_realtime.documents.service import Documents
    from aerostack_realtime.gateway.tracing import Tracing

log = logging.getLogger(__name__)

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
    config.check_ports(settings)
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
    """Open the parts in their order, serve until `stop` is set, and close what was opened in reverse order."""
    interpreter.shorten_thread_turns()
    certificate, rules = config.certificate(settings), config.rules(settings)
    changes = ChangeFanOut()
    async with AsyncExitStack() as opened:
        tracing = await _tracing(settings, opened)
        node = await open_unless(stop, settings, changes)
        if node is None:
            return
        opened.push_async_callback(node.close)
        batch = open_batch(settings.batched_writes, asyncio.get_running_loop().call_soon)
        hub = _hub(settings, node, Counters(rule_of=rules.rule_of), batch)
        if tracing is not None:
            hub.trace(tracing)
        documents = _documents(settings, hub, node.database)
        await hub.start()
        guard = await _guard(hub, node.database, changes, rules)
        changes.flush = hub.flush if batch is None else partial(batch.run, hub.flush)
        revocations = await stored_revocations(node.database)
        access, proxies = access_of(settings), Proxies(settings.trusted_proxies)
        parts = Parts(
            hub=hub,
            database=node.database,
            changes=changes,
            guard=guard,
            authenticator=await prepared(access, revocations, time.time),
            revocations=revocations,
            origins=Origins(settings.origins, loopback=settings.loopback_origins),
            limits=settings.limits,
            pending_sockets=PendingSockets(settings.limits, proxies, time.monotonic),
            rates=HttpRateLimiter(settings.limits, time.monotonic),
            certificate=certificate,
            sessions=lambda: application.endpoint.sessions,
        )
        reloader = Reloader(settings, access, parts, reread)
        application = ApplicationBuilder(settings, parts, proxies, reloader, tracing, documents, batch).build()
        if settings.console.enabled:
            await application.console.start()
        service = _Service(settings, node, parts, application, reloader, documents)
        opened.push_async_callback(service.close)
        await service.bind(shared_port, traced=tracing is not None)
        await service.serve(ready, stop, reload)


class _Service:
    """What runs between opening and closing: the listeners and the tasks."""

    def __init__(
        self,
        settings: Settings,
        node: Node,
        parts: Parts,
        application: Application,
        reloader: Reloader,
        documents: "Documents | None",
    ) -> None:
        self._settings = settings
        self._node = node
        self._parts = parts
        self._application = application
        self._reloader = reloader
        self._documents = documents
        self._listeners: list[Listener] = []
        self._port = 0

    async def bind(self, shared_port: bool, *, traced: bool) -> None:
        """Take the ports. Raises OSError."""
        settings, parts, application = self._settings, self._parts, self._application
        listener = Listener(
            application.app,
            limits=settings.limits,
            pending_sockets=parts.pending_sockets,
            shutdown_seconds=STOP_SECONDS,
            # Spans of connects are made of aiohttp's requests.
            upgrades=None if traced else application.endpoint,
        )
        tls = None if parts.certificate is None else parts.certificate.context
        self._port = await listener.bind(settings.host, settings.port, tls, shared=shared_port)
        self._listeners.append(listener)
        metrics_listener = await _metrics_listener(settings, application.metrics, parts.pending_sockets)
        if metrics_listener is not None:
            self._listeners.append(metrics_listener)

    async def serve(self, ready: Callable[[str], None], stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Run the tasks; listen once the node has caught up with its cluster; then stop in order."""
        hub, listener = self._parts.hub, self._listeners[0]
        async with asyncio.TaskGroup() as tasks:
            owned = [tasks.create_task(each) for each in self._tasks(listener, reload)]
            interpreter.freeze_garbage_collector()
            await _any(hub.caught_up, stop)
            if not stop.is_set():
                await listener.start()
                ready(_url(self._settings, self._port))
            await stop.wait()
            await self._stop(listener)
            for task in owned:
                task.cancel()

    def _tasks(self, listener: Listener, reload: asyncio.Event) -> Iterator[Coroutine[Any, Any, None]]:
        hub, database = self._parts.hub, self._parts.database
        yield self._node.journal.run()
        yield hub.run()
        yield periodic.tick(hub, self._application.endpoint, listener)
        yield periodic.measure_lag(hub.counters.loop_lag)
        yield periodic.prune(database.messages)
        yield _watch(database)
        yield self._reloader.run(reload)
        yield self._application.console.live.run()
        if self._settings.open_access:
            yield self._application.silence.run()
        if self._documents is not None:
            yield self._documents.run()

    async def _stop(self, listener: Listener) -> None:
        """Accept nothing more, send what is pending, and ask every client to connect again."""
        hub, endpoint = self._parts.hub, self._application.endpoint
        listener.stop_accepting()
        hub.flush()
        hub.goodbye()
        endpoint.close(close_codes.RESTART, "the server is restarting: connect again")
        await endpoint.ended(STOP_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await hub.drain()

    async def close(self) -> None:
        self._application.console.stop()
        closing = [each.close() for each in self._listeners]
        await asyncio.gather(self._application.endpoint.ended(STOP_SECONDS), *closing)


async def _any(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _deferring(batch: WriteBatch | None) -> Callable[[Deferred], None]:
    """How deferred calls are made: what they write is sent in the same step, not one iteration later."""
    coalescing = Coalescing()

    def run(deferred: Deferred) -> None:
        flushed = deferred() if batch is None else batch.run(deferred)
        if flushed:
            coalescing.flushed(flushed)

    return run


def _hub(settings: Settings, node: Node, counters: Counters, batch: WriteBatch | None) -> Hub:
    loop = asyncio.get_running_loop()
    return Hub(
        HubOptions(
            journal=node.journal,
            changes=node.database.changes,
            store=node.database.messages,
            defer=partial(node.journal.defer, _deferring(batch)),
            later=loop.call_later,
            buffer_limit=settings.limits.buffer_bytes,
            presence_limit=settings.limits.presence_members,
            logs=Logs(log_bounds(settings), settings.log_bytes, counters),
            records=ConnectionRecords(time.time),
            streams=StreamLimits(
                settings.limits.stream_bytes,
                settings.limits.streams_per_connection,
                settings.limits.stream_seconds,
            ),
            commits=node.cluster,
            keep=node.keep,
            info=nodes.info(settings, VERSION),
        )
    )


async def _guard(hub: Hub, database: Database, changes: ChangeFanOut, rules: Rules) -> Guard:
    """The checks of rights; from now on the memberships follow the row changes."""
    memberships = Memberships(rules.memberships, database)
    changes.listeners = (memberships, hub, DeliveryLatency(hub.counters, time.time))
    with suppress(AerostackError):  # the task that keeps them tries again, and reports it
        await memberships.load()
    return Guard(rules, memberships, time.monotonic)


def _documents(settings: Settings, hub: Hub, database: Database) -> "Documents | None":
    """The documents of this node, if the settings name any. Imported only then."""
    if not settings.documents:
        return None
    from aerostack_realtime.documents.compactor import DocumentRule
    from aerostack_realtime.documents.service import Documents

    rules = [
        DocumentRule(Pattern(each.topic), each.compact_bytes, each.idle_seconds) for each in settings.documents
    ]
    return Documents(rules, hub, database.messages)


async def _tracing(settings: Settings, opened: AsyncExitStack) -> "Tracing | None":
    """Imported when it is switched on: it needs the extra `otel`, and its import takes a third of a second."""
    if not settings.tracing:
        return None
    from aerostack_realtime.gateway.tracing import Tracing, exporting

    tracing = Tracing(await asyncio.to_thread(exporting, VERSION), asyncio.get_running_loop().call_soon)
    opened.push_async_callback(tracing.close)
    return tracing


def _url(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"


async def _watch(database: Database) -> None:
    """End the process when the database can no longer be served: a restart repairs more than silence."""
    raise await database.failed()


async def _metrics_listener(
    settings: Settings, metrics: MetricsCall, pending_sockets: PendingSockets
) -> Listener | None:
    """The listener of `metrics_port`, if that is set. Raises SettingsError where it cannot listen."""
    if settings.metrics_port is None:
        return None
    app = web.Application()
    app.add_routes([web.get("/metrics", metrics.answer)])
    listener = Listener(
        app, limits=settings.limits, pending_sockets=pending_sockets, shutdown_seconds=STOP_SECONDS
    )
    try:
        port = await listener.bind(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise SettingsError(
            f"Cannot listen on {place} for the metrics: {reason}. Set another metrics_port."
        ) from error
    await listener.start()
    log.info("metrics: http://%s:%d/metrics", settings.metrics_host, port)
    return listener
