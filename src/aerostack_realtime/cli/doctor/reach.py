"""The first checks: the certificate, whether Aerostack answers at this address, under which path."""

import asyncio
import datetime
import re
import ssl
from contextlib import suppress
from typing import Any, Final

import aiohttp

from aerostack_realtime.cli.doctor import remedies
from aerostack_realtime.cli.doctor.findings import Finding, failed, ok, warning
from aerostack_realtime.cli.doctor.visitor import REQUEST_PATH, Reply, Visitor
from aerostack_realtime.sdk.endpoint import CLOSE_SECONDS, DIAL_SECONDS, reason_of

SOON_DAYS: Final = 14
"""Certificates are renewed earlier than this, so one that is closer to its end was not renewed."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NO_UPSTREAM: Final = (502, 503, 504)
_CLOSED: Final = (401, 403, 407)
_PATH_SEEN: Final = re.compile(r"GET (\S+): ")
_EXPIRED, _SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER, _NO_FIRST, _NAME = 10, 18, 19, 20, 21, 62  # X509_V_ERR_*


async def certificate(visitor: Visitor, now: datetime.datetime) -> Finding | None:
    """The certificate of an https address; None for http."""
    if visitor.tls is None:
        return None
    host = visitor.parts.hostname or ""
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            _, writer = await asyncio.open_connection(
                host, visitor.parts.port or 443, ssl=visitor.tls, server_hostname=host
            )
    except ssl.SSLCertVerificationError as error:
        return failed("certificate", _unverified(error, host), remedies.CERTIFICATE)
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return failed("certificate", "This port does not speak TLS: use http:// or the port of TLS.")
        return failed("certificate", f"TLS failed: {error.reason or error}.", remedies.CERTIFICATE)
    except (OSError, TimeoutError):
        return None  # the next check reports that nothing answers
    try:
        found: Any = writer.get_extra_info("peercert") or {}
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
    end = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), datetime.UTC)
    days = (end - now).days
    if days < SOON_DAYS:
        sentence = f"The certificate expires in {days} days, on {end:%Y-%m-%d}: its renewal does not work."
        return warning("certificate", sentence, remedies.CERTIFICATE)
    return ok("certificate", f"Valid for {host} until {end:%Y-%m-%d}.")


def _unverified(error: ssl.SSLCertVerificationError, host: str) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return "The certificate has expired."
        case code if code == _NAME:
            return f"The certificate is not for {host}: {error.verify_message.rstrip('.')}."
        case code if code in (_SELF_SIGNED, _SELF_SIGNED_CHAIN):
            return (
                "The certificate is self-signed. For an authority of your own, give its certificate as --ca FILE."
            )
        case code if code in (_NO_ISSUER, _NO_FIRST):
            return (
                "The issuer of the certificate is not known here: the intermediate certificates are missing, or "
                "it is an authority of your own (--ca FILE)."
            )
    return f"The certificate is not valid: {error.verify_message}."


async def address(visitor: Visitor) -> tuple[list[Finding], Reply | None]:
    """Whether Aerostack answers; the answer is None if the other checks make no sense."""
    if visitor.parts.path.rstrip("/").endswith("/api/realtime"):
        shorter = visitor.url.rstrip("/").removesuffix("/api/realtime")
        return [failed("path", f"Clients add /api/realtime themselves: use {shorter} as the url.")], None
    try:
        reply = await visitor.ask("GET", "/healthz")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return [failed("address", _unreachable(error))], None
    if _is_ours(reply):
        return [ok("address", f"Aerostack Realtime {reply.json()['version']} answers."), _path(None)], reply
    if reply.code is not None:
        return [ok("address", "Aerostack Realtime answers."), _path(reply)], None
    elsewhere = await visitor.ask("GET", REQUEST_PATH)
    if elsewhere.status in (200, 401) and (elsewhere.status == 200 or elsewhere.code is not None):
        sentence = "Aerostack Realtime answers, but not at /healthz and /readyz, which load balancers need."
        return [warning("address", sentence, remedies.UPSTREAM)], elsewhere
    return [failed("address", _of_another(reply), _remedy_of_another(reply))], None


def _is_ours(reply: Reply) -> bool:
    return reply.status == 200 and {"status", "version"} <= set(reply.json())


def _path(refused: Reply | None) -> Finding:
    """Whether the path arrives as it was sent; `refused` is the server's answer if it does not know it."""
    if refused is None:
        return ok("path", "Paths arrive as they are sent.")
    seen = _PATH_SEEN.match(str(refused.json()["error"].get("message")))
    where = f" as {seen.group(1)}" if seen else " as another path"
    return failed("path", f"The proxy changes the path: /healthz reaches the server{where}.", remedies.PATH)


def _unreachable(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "Nothing answers within the time-out: a firewall, or a proxy whose server hangs."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The host name has no address: check its DNS entry."
    return f"No connection: {reason_of(error)}. Check that the server or its proxy listens on this port."


def _of_another(reply: Reply) -> str:
    if reply.status in _REDIRECTS:
        target = reply.headers.get("Location", "another address").removesuffix("/healthz")
        return f"The proxy redirects to {target}: use that as the url, since WebSockets follow no redirect."
    if reply.status in _NO_UPSTREAM:
        return f"The proxy cannot reach the server (HTTP {reply.status})."
    if reply.status in _CLOSED:
        return f"The proxy itself asks for credentials or forbids the call (HTTP {reply.status})."
    return f"Another program answers with HTTP {reply.status}: the proxy does not forward this host to the server."


def _remedy_of_another(reply: Reply) -> remedies.Remedy:
    return {} if reply.status in (*_REDIRECTS, *_CLOSED) else remedies.UPSTREAM


async def readiness(visitor: Visitor) -> Finding | None:
    """What the server reports of its own parts; None if the proxy does not forward the call."""
    reply = await visitor.ask("GET", "/readyz")
    parts = reply.json().get("parts")
    if not isinstance(parts, dict):
        return None
    unready = [f"{name}: {sentence}" for name, sentence in parts.items() if sentence != "ready"]
    if unready:
        return failed("ready", f"The server runs, but cannot serve. {' '.join(unready)}")
    return ok("ready", "Every part of the server is ready.")
