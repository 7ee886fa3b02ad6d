"""The HTTP calls of docs/protocol.md §8: which path is answered by whom."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.explain.explainer import Explainer
from aerostack_realtime.gateway.http.admin import Admin, AdminCalls
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.http.explain import ExplainCall
from aerostack_realtime.gateway.http.metrics import MetricsCall
from aerostack_realtime.gateway.http.realtime import RealtimeCalls
from aerostack_realtime.gateway.http.request import RequestCall
from aerostack_realtime.gateway.http.rpc import RpcCalls
from aerostack_realtime.gateway.http.sql import SqlCalls
from aerostack_realtime.gateway.http.status import Readiness, StatusCalls
from aerostack_realtime.gateway.http.streams import StreamCalls
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.rights import Guard


def routes(
    *,
    project: str,
    hub: Hub,
    database: Database,
    guard: Guard,
    admin: Admin,
    explainer: Explainer,
    callers: Callers,
    reload: Callable[[], Awaitable[object]],
    proxies: Proxies,
    limits: Limits,
    metrics: MetricsCall | None,
    version: str,
) -> list[web.RouteDef]:
    """The routes of one project's calls; without `metrics` those are served on another address."""
    realtime = RealtimeCalls(
        project=project, hub=hub, store=database.messages, guard=guard, callers=callers, limits=limits
    )
    streams = StreamCalls(project=project, hub=hub, guard=guard, callers=callers, limits=limits)
    sql = SqlCalls(database=database, callers=callers, nesting=limits.nesting)
    rpc = RpcCalls(realtime=realtime, sql=sql, callers=callers, nesting=limits.nesting)
    operator = AdminCalls(admin=admin, reload=reload, callers=callers, nesting=limits.nesting)
    status = StatusCalls(readiness=Readiness(hub, database, guard), version=version)
    explain = ExplainCall(explainer=explainer, callers=callers)
    received = RequestCall(callers=callers, proxies=proxies)
    routes = [
        web.get("/api/v1/public/realtime/history", realtime.history),
        web.post("/api/v1/realtime/publish", realtime.publish),
        web.post("/api/v1/realtime/streams", streams.open),
        web.post("/api/v1/realtime/streams/append", streams.append),
        web.post("/api/v1/realtime/streams/finish", streams.finish),
        web.post("/api/v1/realtime/streams/cancel", streams.cancel),
        web.get("/api/v1/realtime/presence", realtime.presence),
        web.get("/api/v1/realtime/channels", realtime.channels),
        web.get("/api/v1/realtime/explain", explain.answer),
        web.post("/api/v1/realtime/disconnect", operator.disconnect),
        web.post("/api/v1/realtime/revoke", operator.revoke),
        web.post("/api/v1/realtime/reload", operator.reload),
        web.get("/api/v1/realtime/nodes", operator.nodes),
        web.get("/api/v1/realtime/request", received.answer),
        web.post("/v1/db/query", sql.query),
        web.post("/v1/db/batch", sql.batch),
        web.post("/internal/hooks/rpc", rpc.call),
        web.get("/healthz", status.live),
        web.get("/readyz", status.ready),
        web.get("/openapi.json", status.description),
    ]
    if metrics is not None:

        async def guarded(request: web.Request) -> web.Response:
            callers.require_server(request)
            return await metrics.answer(request)

        routes.append(web.get("/metrics", guarded))
    return routes
