"""What a proxy does to HTTP calls: headers it changes, sizes it refuses, answers it compresses or keeps."""

import ipaddress
import secrets
from typing import Final

import msgspec

from aerostack_realtime.cli.doctor import remedies
from aerostack_realtime.cli.doctor.findings import KEY_NEEDED, Finding, failed, ok, skipped, warning
from aerostack_realtime.cli.doctor.visitor import REQUEST_PATH, Reply, Visitor
from aerostack_realtime.gateway.http.request import REQUEST_ID, Received
from aerostack_realtime.sdk.endpoint import SUBPROTOCOL

LONG_HEADER_BYTES: Final = 6_000
"""A token with many claims; the server accepts 8 KiB."""
BODY_BYTES: Final = 1_000_000
"""A list of publishes; the server accepts 1 MiB."""
SPOOFED: Final = "192.0.2.77"
"""An address for documentation (RFC 5737), which no client has."""
_CACHE_HEADERS: Final = ("X-Cache", "X-Cache-Status", "X-Proxy-Cache", "CF-Cache-Status")
_SEEN_CHECKS: Final = ("host", "client address", "scheme")


async def received(visitor: Visitor) -> list[Finding]:
    """Compares a request with what the server received."""
    request_id = secrets.token_hex(8)
    sent = {"Origin": visitor.origin, REQUEST_ID: request_id, "X-Forwarded-For": SPOOFED}
    reply = await visitor.ask("GET", _uncached(), sent, key=True)
    if reply.status == 403 and reply.code == "forbidden":
        # A page's own origin is allowed where it equals Host. Without Origin the server says what Host became.
        reply = await visitor.ask(
            "GET", REQUEST_PATH, {name: sent[name] for name in sent if name != "Origin"}, key=True
        )
        if reply.status != 200:
            return [
                failed(
                    "host", "The proxy replaces the Host header: pages of this host are refused.", remedies.HOST
                )
            ]
    if reply.status != 200:
        return [skipped(each, KEY_NEEDED) for each in _SEEN_CHECKS]
    try:
        seen = msgspec.json.decode(reply.body, type=Received)
    except msgspec.MsgspecError:
        return [skipped(each, "This server is older than the doctor.") for each in _SEEN_CHECKS]
    return [_host(visitor, seen), _origin(visitor, seen), _client(reply, seen), _scheme(visitor, seen)]


def _uncached() -> str:
    """The call under an address that no cache has an answer for."""
    return f"{REQUEST_PATH}?{secrets.token_hex(8)}"


def _host(visitor: Visitor, seen: Received) -> Finding:
    if (seen.host or "").lower() == visitor.parts.netloc.lower():
        return ok("host", f"The server receives Host: {seen.host}.")
    sentence = (
        f"The server receives Host: {seen.host} instead of {visitor.parts.netloc}, and so refuses pages of it."
    )
    return failed("host", sentence, remedies.HOST)


def _origin(visitor: Visitor, seen: Received) -> Finding:
    if seen.origin in (None, visitor.origin):
        return ok("origin header", "The server receives Origin as it was sent.")
    return failed("origin header", f"The proxy changes Origin to {seen.origin}.", remedies.ORIGIN)


def _client(reply: Reply, seen: Received) -> Finding:
    check = "client address"
    if reply.own == (seen.peer, seen.peer_port):
        return ok(check, f"There is no proxy; the server sees {seen.client}.")
    hops = [each.strip() for header in seen.forwarded_for for each in header.split(",") if each.strip()]
    if hops[-1:] == [SPOOFED]:
        sentence = "The proxy passes on X-Forwarded-For as clients send it: any of them can claim any address."
        return failed(check, sentence, remedies.ADDRESS)
    if not hops:
        if _is_public(seen.peer):
            return ok(check, f"The server sees {seen.client}.")
        sentence = (
            f"Limits count all clients as one, {seen.client}: the proxy sends no X-Forwarded-For of its own."
        )
        return failed(check, sentence, remedies.ADDRESS)
    if not seen.trusted:
        sentence = f"Limits count all clients as one, {seen.client}: the server does not trust its proxy."
        return failed(check, sentence, {remedies.SERVER: f'trusted_proxies = ["{seen.peer}"]'})
    return ok(check, f"The server sees {hops[-1]}.")


def _is_public(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_global
    except ValueError:
        return False


def _scheme(visitor: Visitor, seen: Received) -> Finding:
    if visitor.tls is None or seen.secure:
        return ok("scheme", f"The server knows that clients use {visitor.parts.scheme}.")
    if seen.forwarded_proto == "https" and not seen.trusted:
        sentence = "The server does not trust its proxy, and so does not know that clients use https."
        return failed("scheme", sentence, {remedies.SERVER: f'trusted_proxies = ["{seen.peer}"]'})
    sentence = (
        f"The server takes https for {seen.forwarded_proto or 'http'}, and sends no Strict-Transport-Security."
    )
    return failed("scheme", sentence, remedies.SCHEME)


async def sizes(visitor: Visitor) -> list[Finding]:
    """Long headers and large bodies."""
    long = {"Sec-WebSocket-Protocol": f"{SUBPROTOCOL}, {'x' * LONG_HEADER_BYTES}"}
    reply = await visitor.ask("GET", _uncached(), long)
    if reply.code is not None and reply.status != 431:
        headers = ok("long headers", f"A header of {LONG_HEADER_BYTES} bytes passes, such as a long token.")
    elif reply.code is not None:
        raised = {remedies.SERVER: "[limits] header_bytes = 8192"}
        headers = failed("long headers", "The server refuses long tokens (HTTP 431).", raised)
    else:
        sentence = (
            f"The proxy refuses a header of {LONG_HEADER_BYTES} bytes (HTTP {reply.status}): long tokens fail."
        )
        headers = failed("long headers", sentence, remedies.HEADERS)
    return [headers, await _body(visitor)]


async def _body(visitor: Visitor) -> Finding:
    check = "large bodies"
    reply = await visitor.ask("POST", REQUEST_PATH, {"Content-Type": "application/json"}, b" " * BODY_BYTES)
    if reply.code == "too_large":
        sentence = "The server accepts smaller bodies than 1 MB, by its own limit."
        return warning(check, sentence, {remedies.SERVER: "[limits] body_bytes = 1048576"})
    if reply.code is not None:
        return ok(check, "A body of 1 MB passes, such as a list of publishes.")
    return failed(check, f"The proxy refuses a body of 1 MB (HTTP {reply.status}).", remedies.BODY)


async def answers(visitor: Visitor) -> list[Finding]:
    """Whether answers come from the server each time, and as it wrote them."""
    request_id = secrets.token_hex(8)
    await visitor.ask("GET", REQUEST_PATH, {REQUEST_ID: "first"}, key=True)
    reply = await visitor.ask("GET", REQUEST_PATH, {REQUEST_ID: request_id, "Accept-Encoding": "gzip"}, key=True)
    encoding = reply.headers.get("Content-Encoding", "identity")
    compression = ok("compression", "Answers are not compressed on their way.")
    if encoding != "identity":
        sentence = f"The proxy compresses answers ({encoding}), which reveals what secrets in them have in common."
        compression = failed("compression", sentence, remedies.COMPRESSION)
    cached = await _is_cached(visitor, reply, request_id)
    cache = ok("cache", "Answers are not cached.")
    if cached:
        cache = failed("cache", "The proxy answers from a cache: callers get answers of others.", remedies.CACHE)
    return [compression, cache]


async def _is_cached(visitor: Visitor, reply: Reply, request_id: str) -> bool:
    if any(reply.headers.get(name, "").upper().startswith("HIT") for name in _CACHE_HEADERS):
        return True
    if reply.headers.get("Age", "0") != "0":
        return True
    if reply.headers.get("Content-Encoding"):
        reply = await visitor.ask(
            "GET", REQUEST_PATH, {REQUEST_ID: request_id, "Accept-Encoding": "identity"}, key=True
        )
    return reply.status == 200 and reply.json().get("requestId") not in (request_id, None)
