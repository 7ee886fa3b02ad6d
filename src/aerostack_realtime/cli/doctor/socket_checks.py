"""What a proxy does to WebSockets: the upgrade, the first frames, origins, and silence."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import ClientWebSocketResponse, WSMsgType

from aerostack_realtime.cli.doctor import remedies
from aerostack_realtime.cli.doctor.findings import Finding, failed, ok, skipped, warning
from aerostack_realtime.cli.doctor.visitor import Visitor
from aerostack_realtime.sdk.endpoint import SUBPROTOCOL

FRAME_SECONDS: Final = 5.0
"""For a frame that the server sends at once."""
LATE_SECONDS: Final = 15.0
"""How much later than its interval a ping may come from a busy server."""
STRANGER: Final = "https://aerostack-doctor.invalid"
"""The origin of a page that no server allows: the domain cannot exist (RFC 2606)."""
CREDENTIALS_NEEDED: Final = "Needs a connection that the server accepts: --key or --token."
Failure = aiohttp.ClientError | OSError | TimeoutError


async def upgrade(visitor: Visitor) -> tuple[list[Finding], int | None]:
    """The upgrade and the first frames; and the heartbeat in seconds, if the server let the doctor in."""
    try:
        async with visitor.connect() as wire:
            return await _greeting(visitor, wire)
    except aiohttp.WSServerHandshakeError as refusal:
        return [await _refused(visitor, refusal.status)], None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        sentence = f"The proxy ends the connection during the upgrade: {str(error) or type(error).__name__}."
        return [failed("upgrade", sentence, remedies.UPGRADE)], None


async def _refused(visitor: Visitor, status: int) -> Finding:
    reply = await visitor.ask_to_upgrade()
    if reply.code is not None and status in (400, 426):
        sentence = "The proxy does not forward the upgrade to WebSocket: the server received an ordinary request."
        return failed("upgrade", sentence, remedies.UPGRADE)
    if reply.code is not None:
        return failed("upgrade", f"The server refuses: {reply.json()['error'].get('message')}")
    if status == 404:
        return failed("upgrade", "The proxy does not forward /api/realtime to the server.", remedies.UPSTREAM)
    return failed("upgrade", f"The proxy refuses the upgrade to WebSocket (HTTP {status}).", remedies.UPGRADE)


async def _greeting(visitor: Visitor, wire: ClientWebSocketResponse) -> tuple[list[Finding], int | None]:
    if wire.protocol != SUBPROTOCOL:
        sentence = "The proxy removes Sec-WebSocket-Protocol: browsers cannot send their token."
        return [failed("upgrade", sentence, remedies.SUBPROTOCOL)], None
    found = [ok("upgrade", "The upgrade to WebSocket passes.")]
    try:
        async with asyncio.timeout(FRAME_SECONDS):
            first = await _message(wire)
    except (TimeoutError, _Ended):
        sentence = "The upgrade passes, but the frames that follow are held back or lost."
        return [*found, failed("buffering", sentence, remedies.BUFFERING)], None
    if first.get("type") != "connected":
        refusal = f"The server does not let this client in ({first.get('code')}): {first.get('message')}"
        return [*found, warning("credentials", refusal)], None
    if visitor.has_credentials:
        found.append(await _round_trip(wire))
    heartbeat = first.get("heartbeat")
    return found, heartbeat if isinstance(heartbeat, int) and visitor.has_credentials else None


async def _round_trip(wire: ClientWebSocketResponse) -> Finding:
    """Whether a command is answered at once."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        async with asyncio.timeout(FRAME_SECONDS):
            await wire.send_str('{"type":"ping"}')
            while (await _message(wire)).get("type") != "pong":
                pass
    except TimeoutError:
        return failed("buffering", "Commands or their answers are held back on their way.", remedies.BUFFERING)
    except _Ended as ended:
        sentence = f"The connection ends soon after the upgrade (close code {ended.code})."
        return failed("idle", sentence, remedies.IDLE)
    return ok("buffering", f"Frames pass at once; a ping takes {(clock() - began) * 1000:.0f} ms.")


class _Ended(Exception):
    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


async def _message(wire: ClientWebSocketResponse) -> dict[str, Any]:
    """The next message; pings are answered. Raises _Ended."""
    while True:
        received = await wire.receive()
        if received.type is WSMsgType.TEXT:
            return msgspec.json.decode(received.data, type=dict[str, Any])
        if received.type is WSMsgType.PING:
            await wire.pong(received.data)
        elif received.type is not WSMsgType.PONG:
            raise _Ended(wire.close_code)


async def origins(visitor: Visitor, page: str | None) -> list[Finding]:
    """Whether the server distinguishes pages by their Origin; `page` is the origin of one that must connect."""
    found: list[Finding] = []
    if await _admits(visitor, STRANGER):
        sentence = "A page of any origin may connect: the proxy removes Origin, or origins allows all."
        found.append(failed("foreign origins", sentence, remedies.ORIGIN))
    else:
        found.append(ok("foreign origins", "Pages of other origins are refused."))
    for each in (visitor.origin, page):
        if each is not None and not await _admits(visitor, each):
            remedy = remedies.HOST if each == visitor.origin else {remedies.SERVER: f'origins = ["{each}"]'}
            found.append(failed("origin", f"Pages of {each} may not connect.", remedy))
        elif each is not None:
            found.append(ok("origin", f"Pages of {each} may connect."))
    return found


async def _admits(visitor: Visitor, origin: str) -> bool:
    try:
        async with visitor.connect(origin=origin, credentials=False):
            return True
    except aiohttp.WSServerHandshakeError as refusal:
        if refusal.status != 403:
            raise
        return False


async def silence(visitor: Visitor, heartbeat: int | None, seconds: float | None) -> Finding:
    """Whether a silent connection outlives the heartbeat, or `seconds` if they are given."""
    if seconds == 0:
        return skipped("idle", "Not asked for: --idle 0.")
    if heartbeat is None:
        return skipped("idle", CREDENTIALS_NEEDED)
    wait = seconds or heartbeat + 10.0
    patience = wait + LATE_SECONDS if wait > heartbeat else wait
    clock = asyncio.get_running_loop().time
    async with visitor.connect() as wire:
        began, pings = clock(), 0
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while clock() - began < wait or not pings:
                    received = await _silent(wire, wait - (clock() - began) if pings else None)
                    if received is WSMsgType.PING:
                        pings += 1
                        await wire.pong()
                    elif received is not None and received is not WSMsgType.TEXT:
                        return _ended(clock() - began, heartbeat, wire.close_code)
    if pings:
        return ok("idle", f"A silent connection lasts {wait:g} s; the heartbeat of {heartbeat} s keeps it open.")
    if wait > heartbeat:
        sentence = f"No ping comes within {heartbeat} s of silence: the proxy answers or removes control frames."
        return failed("idle", sentence, remedies.UPGRADE)
    sentence = f"A silent connection lasts {wait:g} s, which is less than the heartbeat of {heartbeat} s."
    return warning("idle", sentence)


async def _silent(wire: ClientWebSocketResponse, seconds: float | None) -> WSMsgType | None:
    """The type of the next frame; None if there is none within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return (await wire.receive()).type
    except TimeoutError:
        if seconds is None:
            raise
        return None


def _ended(after: float, heartbeat: int, code: int | None) -> Finding:
    cut = "cuts" if code in (None, 1006) else f"closes (code {code})"
    sentence = f"The proxy {cut} a silent connection after {after:.1f} s; the server's heartbeat is {heartbeat} s."
    return failed("idle", sentence, remedies.IDLE)
