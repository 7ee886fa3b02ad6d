"""The callers of HTTP calls: their credentials, and how fast they may call."""

from typing import Final

from aiohttp import web

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.access.tokens import is_token
from aerostack_realtime.counters import Counters
from aerostack_realtime.gateway import projects
from aerostack_realtime.gateway.limits.token_bucket import Caller, HttpRateLimiter
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.protocol import trace_context
from aerostack_realtime.protocol.errors import AerostackError, Forbidden, InvalidKey, Unauthorized

TRACED: Final = web.RequestKey("traced", str)
"""Under which a request has the traceparent of its span."""


def traceparent_of(request: web.Request) -> str | None:
    """The traceparent of what a request does: that of its span, or the one that it came with."""
    return request.get(TRACED) or trace_context.valid(request.headers.get(trace_context.NAME))


class Callers:
    """Authenticates the callers of one project's HTTP calls, and counts their calls."""

    def __init__(
        self,
        *,
        project: str,
        authenticator: Authenticator,
        rates: HttpRateLimiter,
        proxies: Proxies,
        counters: Counters,
    ) -> None:
        self._counters = counters
        self._project = project
        self._authenticator = authenticator
        self._rates = rates
        self._proxies = proxies

    def identify(self, request: web.Request) -> Identity:
        """The identity of a caller, which uses up one call of its rate.

        Raises InvalidKey, Unauthorized, TokenExpired, Forbidden for another project, and RateLimited.
        """
        key, token = _credentials(request)
        try:
            projects.require(request.headers.get("X-Project-Id") or request.query.get("projectId"), self._project)
            identity = self._authenticator.identify(key, token)
            if identity is None:
                raise InvalidKey("Send X-Aerostack-Key: <api key> or Authorization: Bearer <token or secret key>.")
        except AerostackError as error:
            if error.status == Unauthorized.status:
                self._counters.authentication_failures["http"] += 1
            self._rates.call(self._caller(request, None))
            raise
        if identity.kind == "server":
            self._counters.secret_key_calls[identity.key or ""] += 1
        else:
            self._rates.call(self._caller(request, identity))
        return identity

    def require_server(self, request: web.Request) -> Identity:
        """The same for a call that needs the secret key."""
        identity = self.identify(request)
        if identity.kind == "server":
            return identity
        if identity.kind == "anonymous":
            raise InvalidKey("This call needs the secret key: send Authorization: Bearer <secret key>.")
        raise Forbidden("This call needs the secret key; a user's token is not enough.")

    def charge(self, request: web.Request, identity: Identity, *, size: int = 0, calls: int = 0) -> None:
        """Use up published bytes and further calls of a caller's rates. Raises RateLimited."""
        if identity.kind != "server":
            caller = self._caller(request, identity)
            if size:
                self._rates.publish(caller, size)
            if calls:
                self._rates.call(caller, calls)

    def _caller(self, request: web.Request, identity: Identity | None) -> Caller:
        if identity is not None and identity.kind == "user" and identity.user_id is not None:
            return "user", identity.user_id
        return "address", self._proxies.of(request)


def _credentials(request: web.Request) -> tuple[str | None, str | None]:
    """The API key and the token of a request. A bearer that does not have the shape of a token is a key."""
    key = request.headers.get("X-Aerostack-Key") or request.headers.get("X-API-Key") or None
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = (bearer.strip() or None) if scheme.lower() == "bearer" else None
    if token is not None and key is None and not is_token(token):
        return token, None
    return key, token
