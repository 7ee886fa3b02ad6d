"""The call with which `aerostack doctor` learns what a proxy makes of a request."""

from aiohttp import hdrs, web
from msgspec import Struct

from aerostack_realtime.gateway.http.answers import as_json
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.proxies import Proxies

REQUEST_ID = "X-Request-ID"


class Received(Struct, frozen=True, rename="camel"):
    """A request as it reached the server.

    `peer` and `peer_port` are the other end of the connection, `client` is the address that limits count, and
    `trusted` whether the peer is one of the trusted proxies. `secure` is whether the client used TLS.
    """

    path: str
    host: str | None
    origin: str | None
    peer: str | None
    peer_port: int | None
    client: str
    trusted: bool
    secure: bool
    forwarded_for: list[str]
    forwarded_proto: str | None
    request_id: str | None


class RequestCall:
    """Describes a request to its caller, who needs the secret key: the address of a proxy is an internal one."""

    def __init__(self, *, callers: Callers, proxies: Proxies) -> None:
        self._callers = callers
        self._proxies = proxies

    async def answer(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        peer = None if request.transport is None else request.transport.get_extra_info("peername")
        headers = request.headers
        return as_json(
            Received(
                path=request.path,
                host=headers.get(hdrs.HOST),
                origin=headers.get(hdrs.ORIGIN),
                peer=request.remote,
                peer_port=peer[1] if isinstance(peer, tuple) else None,
                client=self._proxies.of(request),
                trusted=self._proxies.trusts(request.remote),
                secure=self._proxies.secure(request),
                forwarded_for=headers.getall(hdrs.X_FORWARDED_FOR, []),
                forwarded_proto=headers.get(hdrs.X_FORWARDED_PROTO),
                request_id=headers.get(REQUEST_ID),
            )
        )
