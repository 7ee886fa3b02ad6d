"""A connection from its first byte: aiohttp's HTTP protocol, with limits on what comes before a request."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.http import headers
from aerostack_realtime.gateway.http.answers import error_response
from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.protocol.errors import BadMessage

IDLE_SECONDS: Final = 75
"""How long a connection is kept for the next request: longer than proxies keep theirs, not aiohttp's hour."""
_SLASHES: Final = re.compile("/{2,}")


MakeRequest = Callable[..., BaseRequest]
"""Makes a request of its parsed head and what aiohttp knows besides."""


def merging_slashes(make: MakeRequest) -> MakeRequest:
    """Requests whose doubled slashes in the path are one, since published clients send `//api/realtime`."""

    def request(head: RawRequestMessage, *context: Any) -> BaseRequest:
        path, mark, query = head.path.partition("?")
        if "//" in path and path.startswith("/"):  # not the absolute form, http://…
            merged = _SLASHES.sub("/", path)
            url = head.url.with_path(merged, encoded=True, keep_query=True)
            head = head._replace(path=merged + mark + query, url=url)
        return make(head, *context)

    return request


class HttpProtocol(RequestHandler):
    """aiohttp's connection with our limits. It counts as a pending socket of `address` until it is a WebSocket or
    over, and `deadline` ends it unless a request is complete before."""

    __slots__ = ("_address", "_deadline", "_lobby")

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        pending_sockets: PendingSockets,
        address: str,
        deadline: asyncio.TimerHandle,
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast(Any, None),  # none, although its type says otherwise
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
        )
        self._deadline = deadline
        self._lobby = pending_sockets
        self._address: str | None = address

    def asked(self) -> None:
        """The head of a request is complete."""
        self._deadline.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._deadline.cancel()  # it would keep the connection in memory, and a flood makes thousands of them
        self._leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are not a request. aiohttp would log and echo them, and they may hold a credential."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        audit.record("refused", address=request.remote, reason=BadMessage.code)
        response = error_response(BadMessage("This is not an HTTP/1.1 request, or its head exceeds the limits."))
        response.set_status(431 if isinstance(exc, LineTooLong) else status)
        headers.protect(response, secure=request.secure)
        response.force_close()
        return response

    def _leave(self) -> None:
        if self._address is not None:
            self._lobby.leave(self._address)
            self._address = None
