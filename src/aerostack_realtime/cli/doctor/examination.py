"""All checks in their order; a check that cannot work after an earlier failure is left out."""

import datetime
from typing import Final

import aiohttp

from aerostack_realtime.cli.doctor import http_checks, reach, socket_checks
from aerostack_realtime.cli.doctor.findings import Finding, Report, failed
from aerostack_realtime.cli.doctor.remedies import PROXIES, Proxy
from aerostack_realtime.cli.doctor.visitor import Reply, Visitor

_NAMES: Final[dict[str, Proxy]] = {"nginx": "nginx", "openresty": "nginx", "caddy": "caddy", "haproxy": "haproxy"}


async def examine(
    visitor: Visitor, *, page: str | None = None, idle: float | None = None, proxy: Proxy | None = None
) -> Report:
    """Examine a server. `page` is the origin of a page that has to connect, `idle` how many seconds of silence are
    tried (by default the heartbeat and ten), and `proxy` the one in front, if it does not name itself."""
    found: list[Finding] = []
    async with visitor:
        trust = await reach.certificate(visitor, datetime.datetime.now(datetime.UTC))
        if trust is not None:
            found.append(trust)
        if trust is None or trust.result != "failed":
            try:
                proxy = await _examine(visitor, found, page, idle, proxy)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                sentence = f"A request failed that should not: {str(error) or type(error).__name__}."
                found.append(failed("connection", sentence))
    return Report(visitor.url, proxy, found)


async def _examine(
    visitor: Visitor, found: list[Finding], page: str | None, idle: float | None, proxy: Proxy | None
) -> Proxy | None:
    reached, reply = await reach.address(visitor)
    found += reached
    if reply is None:
        return proxy
    proxy = proxy or _named(reply)
    if (ready := await reach.readiness(visitor)) is not None:
        found.append(ready)
    upgraded, heartbeat = await socket_checks.upgrade(visitor)
    found += upgraded
    found += await http_checks.received(visitor)
    found += await http_checks.sizes(visitor)
    found += await http_checks.answers(visitor)
    if all(each.result != "failed" for each in upgraded):
        found += await socket_checks.origins(visitor, page)
        found.append(await socket_checks.silence(visitor, heartbeat, idle))
    return proxy


def _named(reply: Reply) -> Proxy | None:
    """The proxy that names itself in an answer."""
    named = f"{reply.headers.get('Server', '')} {reply.headers.get('Via', '')}".lower()
    found = next((proxy for name, proxy in _NAMES.items() if name in named), None)
    assert found is None or found in PROXIES, "each has remedies"
    return found
