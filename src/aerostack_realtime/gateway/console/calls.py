"""The console's HTTP calls and its WebSocket: signing in, looking, and acting.

Protection against other pages (CSRF): the cookie is SameSite=Strict, every call needs a header that only a script
of our own origin can send, and calls that act and the WebSocket need our own Origin.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.verdicts import ACTIONS
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.console.live import Live
from aerostack_realtime.gateway.console.queries import parse
from aerostack_realtime.gateway.console.sessions import Operator, OperatorSessions
from aerostack_realtime.gateway.console.views import Views
from aerostack_realtime.gateway.explain.access import right
from aerostack_realtime.gateway.explain.explainer import Explainer, Question
from aerostack_realtime.gateway.http.admin import Admin
from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.upgrade import ConnectRequest
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import BadMessage, Forbidden, Unauthorized

COOKIE: Final = "aerostack_console"
PATH: Final = "/console"
HEADER: Final = "X-Aerostack-Console"
"""Only a script of our own origin can send it: it is not among the headers that CORS allows."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Call = Callable[[web.Request, Operator], Awaitable[web.StreamResponse]]


class _Action(Struct, rename="camel", forbid_unknown_fields=True):
    """What an action is about: one of them."""

    user_id: str | None = None
    connection: str | None = None
    token_id: str | None = None


class ConsoleCalls:
    """`hint` is the key that the sign-in page offers: that of `aerostack dev`, which is public."""

    def __init__(
        self,
        *,
        project: str,
        sessions: OperatorSessions,
        views: Views,
        live: Live,
        explainer: Explainer,
        guard: Guard,
        admin: Admin,
        callers: Callers,
        endpoint: WebSocketEndpoint,
        proxies: Proxies,
        version: str,
        hint: str | None,
        nesting: int,
    ) -> None:
        self._project = project
        self._sessions = sessions
        self._views = views
        self._live = live
        self._explainer = explainer
        self._guard = guard
        self._admin = admin
        self._callers = callers
        self._endpoint = endpoint
        self._proxies = proxies
        self._about = {"project": project, "version": version, "hint": hint}
        self._nesting = nesting

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{PATH}/api/about", self._own(self.about)),
            web.post(f"{PATH}/api/sign-in", self._own(self.sign_in)),
            web.post(f"{PATH}/api/sign-out", self._signed_in(self.sign_out)),
            web.get(PATH + "/api/{topic:view/.+}", self._signed_in(self.view)),
            web.get(f"{PATH}/api/explain", self._signed_in(self.explain)),
            web.get(f"{PATH}/api/access", self._signed_in(self.access)),
            web.post(f"{PATH}/api/disconnect", self._full(self.disconnect)),
            web.post(f"{PATH}/api/revoke", self._full(self.revoke)),
            web.get(f"{PATH}/api/realtime", self.connect),
        ]

    # --- signing in --------------------------------------------------------------------------------------

    async def about(self, request: web.Request) -> web.Response:
        """The server, and the operator if somebody has signed in."""
        shown = None
        with suppress(Unauthorized):
            shown = _shown(self._sessions.find(request.cookies.get(COOKIE)))
        return as_json({**self._about, "operator": shown})

    async def sign_in(self, request: web.Request) -> web.Response:
        """Open a session for the key or token in the Authorization header."""
        identity = self._callers.identify(request)
        operator, cookie = self._sessions.open(identity)
        self._record(request, operator, "signed in", rights=operator.rights)
        response = as_json({**self._about, "operator": _shown(operator)})
        secure = request.secure or self._is_secure_proxy(request)
        response.set_cookie(COOKIE, cookie, path=PATH, httponly=True, secure=secure, samesite="Strict")
        return response

    async def sign_out(self, request: web.Request, operator: Operator) -> web.Response:
        await self._sessions.end(operator)
        self._live.check()
        self._record(request, operator, "signed out")
        response = as_json({})
        response.del_cookie(COOKIE, path=PATH)
        return response

    # --- looking -----------------------------------------------------------------------------------------

    async def view(self, request: web.Request, operator: Operator) -> web.Response:
        """The data of a view as it is now; its topic has what follows."""
        query = parse(request.match_info["topic"])
        if query.view == "channel":
            self._record(request, operator, "viewed", topic=query.name)
        return as_json(await self._views.view(query))

    async def explain(self, request: web.Request, _: Operator) -> web.Response:
        return as_json(await self._explainer.explain(Question.of(request.query)))

    async def access(self, request: web.Request, _: Operator) -> web.Response:
        """The verdict of the rules about an identity that need not exist."""
        query = request.query
        action = query.get("action", "subscribe")
        if action not in ACTIONS:
            raise BadMessage(f"action is one of {', '.join(ACTIONS)}; {action[:40]!r} is not.")
        topic = topics.canonical(query.get("topic", ""), self._project)
        found = await right(self._guard, _identity(query.get("user", ""), query.get("claims", "")), topic, action)
        return as_json({"topic": topic, "rule": self._guard.rules.rule_of(topic), "right": found})

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket: `projectId` is the server's, for live tails, or that of the console's own topics."""
        self._require_own_origin(request, needed=True)
        operator = self._sessions.find(request.cookies.get(COOKIE))
        wanted = request.query.get("projectId", self._project)
        project = topics.CONSOLE if wanted == topics.CONSOLE else self._project
        if project != topics.CONSOLE:
            self._record(request, operator, "connected")

        def identify(_request: ConnectRequest, _protocols: list[str]) -> Identity:
            return operator.identity

        return await self._endpoint.accept(
            request, identify, project, lambda session: self._live.opened(session, operator)
        )

    # --- acting ------------------------------------------------------------------------------------------

    async def disconnect(self, request: web.Request, operator: Operator) -> web.Response:
        """Close one connection, or all of a user."""
        body: _Action = await read_body(request, _Action, self._nesting)
        self._record(request, operator, "disconnected", user=body.user_id, connection=body.connection)
        if body.connection is not None:
            return as_json({"closed": await self._admin.disconnect_one(body.connection)})
        if body.user_id is not None:
            return as_json({"closed": await self._admin.disconnect(body.user_id)})
        raise BadMessage("Name a connection, or userId for all connections of a user.")

    async def revoke(self, request: web.Request, operator: Operator) -> web.Response:
        """Revoke one token, or all that a user has now."""
        body: _Action = await read_body(request, _Action, self._nesting)
        self._record(request, operator, "revoked", user=body.user_id, token=body.token_id)
        if body.token_id is not None:
            return as_json({"closed": await self._admin.revoke_token(body.token_id)})
        if body.user_id is not None:
            return as_json({"closed": await self._admin.revoke_user(body.user_id)})
        raise BadMessage("Name userId, for all tokens issued until now, or tokenId, a token's jti.")

    # --- inside ------------------------------------------------------------------------------------------

    def _own(self, handler: Handler) -> Handler:
        """A call that only our own page can make."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if HEADER not in request.headers:
                raise Forbidden(f"Calls of the console need the header {HEADER}.")
            self._require_own_origin(request, needed=False)
            response = await handler(request)
            response.headers["Cache-Control"] = "no-store"
            return response

        return guarded

    def _signed_in(self, call: Call) -> Handler:
        return self._own(lambda request: call(request, self._sessions.find(request.cookies.get(COOKIE))))

    def _full(self, call: Call) -> Handler:
        async def guarded(request: web.Request, operator: Operator) -> web.StreamResponse:
            if operator.rights != "full":
                raise Forbidden("You may look at everything here, and change nothing.")
            return await call(request, operator)

        return self._signed_in(guarded)

    def _require_own_origin(self, request: web.Request, *, needed: bool) -> None:
        """Other pages of this machine are of the same site, so the cookie alone does not keep them out."""
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if origin is None and needed:
            raise Forbidden("The console can be used from its own page alone.")
        if origin is not None and urlsplit(origin.lower()).netloc != request.headers.get("Host", "").lower():
            raise Forbidden("The console can be used from its own page alone.")
        if site not in ("same-origin", "none"):
            raise Forbidden("The console can be used from its own page alone.")

    def _is_secure_proxy(self, request: web.Request) -> bool:
        return self._proxies.trusts(request.remote) and request.headers.get("X-Forwarded-Proto") == "https"

    def _record(self, request: web.Request, operator: Operator, action: str, **facts: str | None) -> None:
        address = self._proxies.of(request)
        audit.record("console", operator=operator.name, action=action, address=address, **facts)


def _shown(operator: Operator) -> dict[str, Any]:
    return {"name": operator.name, "rights": operator.rights, "until": operator.until}


def _identity(user: str, claims: str) -> Identity:
    """The identity of the playground: a user with these claims (JSON), or anonymous without a user. Raises
    BadMessage."""
    if not user:
        return Identity("anonymous")
    try:
        found = msgspec.json.decode(claims, type=dict[str, Any]) if claims.strip() else {}
    except msgspec.MsgspecError as malformed:
        raise BadMessage(f"The claims have to be a JSON object: {malformed}.") from None
    return Identity("user", user, claims={**found, "sub": user})
