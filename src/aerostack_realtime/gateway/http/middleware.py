"""What surrounds every HTTP call: origins (CORS), headers, and errors as JSON."""

from time import perf_counter
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aerostack_realtime.access.permissions import Denied
from aerostack_realtime.counters import Counters, Histogram
from aerostack_realtime.gateway import audit, failures
from aerostack_realtime.gateway.http import headers
from aerostack_realtime.gateway.http.answers import as_json, error_response
from aerostack_realtime.gateway.origins import ORIGIN_REFUSED, Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    NotFound,
    TooLarge,
    Unauthorized,
)

ALLOWED_HEADERS: Final = ", ".join(
    (
        "Authorization",
        "Content-Type",
        "X-Aerostack-Key",
        "X-API-Key",
        "X-Request-ID",
        "X-SDK-Version",
        "X-Project-Id",
        "x-aerostack-function",
        "traceparent",
    )
)
"""What pages may send: our own clients the first three, the published ones the others as well."""
_TOO_LARGE: Final = (
    "A call's body is at most {} bytes, and this one is larger: send less at once, or raise [limits] body_bytes."
)


METHODS: Final = frozenset({"GET", "POST", "OPTIONS"})
"""The methods that calls have; every other one is counted as `other`."""


def surrounding(origins: Origins, proxies: Proxies, counters: Counters) -> Middleware:
    """The middleware: pages of allowed origins may read the answers (CORS), and errors become JSON with their
    status. Refusals are written to the audit log with the client's address."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        origin = request.headers.get("Origin")
        allowed = origins.allows(origin, request.headers.get("Host"))
        response: web.StreamResponse
        if not origins.serves(request.headers.get("Host")):
            response = error_response(Forbidden("aerostack dev answers to localhost and to addresses only."))
        elif request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response = web.Response(status=204)
        elif not allowed:
            _record_refusal(request, proxies, reason="origin", origin=origin)
            response = error_response(Forbidden(ORIGIN_REFUSED))
        else:
            response = await _answer(request, handler, proxies, counters)
        if response.prepared:
            return response
        _count(counters, request, response.status, began)
        headers.protect(response, secure=proxies.secure(request))
        if origin is not None and allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    return middleware


async def _answer(
    request: web.Request, handler: Handler, proxies: Proxies, counters: Counters
) -> web.StreamResponse:
    try:
        return await handler(request)
    except AerostackError as error:
        counters.errors[error.code] += 1
        if error.status in (Unauthorized.status, Forbidden.status):
            rule = error.facts() if isinstance(error, Denied) else {}
            _record_refusal(request, proxies, reason=error.code, **rule)
        return error_response(error)
    except web.HTTPRequestEntityTooLarge:
        counters.errors[TooLarge.code] += 1
        return error_response(TooLarge(_TOO_LARGE.format(request.client_max_size)))
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        text = f"{request.method} {request.path[:200]}: {answer.reason}. /openapi.json describes the calls."
        refusal = NotFound(text) if answer.status == NotFound.status else BadMessage(text)
        counters.errors[refusal.code] += 1
        return as_json(refusal.body(), answer.status, answer.headers.get("Allow"))
    except Exception as failure:
        counters.errors[Internal.code] += 1
        return error_response(failures.internal(failure, f"{request.method} {request.path}"))


def _count(counters: Counters, request: web.Request, status: int, began: float) -> None:
    """Count a call by the pattern of its route, so that paths which clients make up do not become labels."""
    resource = request.match_info.route.resource
    route = "none" if resource is None else resource.canonical
    key = request.method if request.method in METHODS else "other", route, str(status)
    histogram = counters.http.get(key)
    if histogram is None:
        histogram = counters.http[key] = Histogram()
    histogram.observe(perf_counter() - began)


def _record_refusal(request: web.Request, proxies: Proxies, **facts: str | None) -> None:
    audit.record("refused", address=proxies.of(request), call=request.path, **facts)
