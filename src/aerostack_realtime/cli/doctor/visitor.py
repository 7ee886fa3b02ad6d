"""Requests and WebSockets as a client sends them, with what the doctor has to know of the connection below."""

import base64
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import ClientTimeout, ClientWebSocketResponse, ClientWSTimeout
from msgspec import Struct

from aerostack_realtime.sdk.endpoint import CLOSE_SECONDS, DIAL_SECONDS, SUBPROTOCOL

REQUEST_PATH: Final = "/api/v1/realtime/request"
ANSWER_SECONDS: Final = 20.0
_MAX_FRAME: Final = 1 << 20


class Reply(Struct, frozen=True):
    """An answer. `own` is the address and port that this machine sent the request from."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    own: tuple[str, int] | None = None

    def json(self) -> dict[str, Any]:
        """The body as an object; empty if it is something else, such as the error page of a proxy."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return {}

    @property
    def code(self) -> str | None:
        """The code of an error of our server; None for an answer of another program."""
        error = self.json().get("error")
        return error.get("code") if isinstance(error, dict) else None


class Visitor:
    """A client of one server. The key and the token go into requests only where a check asks for them."""

    def __init__(
        self, url: str, *, key: str | None, token: str | None, project: str | None, ca: str | None
    ) -> None:
        self.url = url
        self.parts = urlsplit(url)
        self._key = key
        self._token = token
        self._project = project
        self.tls = ssl.create_default_context(cafile=ca) if self.parts.scheme == "https" else None
        self._sockets: list[socket.socket] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, socket_factory=self._socket),
            timeout=ClientTimeout(total=ANSWER_SECONDS, connect=DIAL_SECONDS),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None, "it was entered"
        await self._session.close()

    @property
    def origin(self) -> str:
        """The origin of a page that the same host serves."""
        return f"{self.parts.scheme}://{self.parts.netloc}"

    @property
    def has_credentials(self) -> bool:
        return bool(self._key or self._token)

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        *,
        key: bool = False,
    ) -> Reply:
        """One request on a connection of its own; redirects are not followed. Raises aiohttp.ClientError, OSError
        and TimeoutError."""
        assert self._session is not None, "it was entered"
        headers = {"Accept-Encoding": "identity", **headers}  # a proxy that compresses is one finding, not all
        if key and self._key:
            headers = {**headers, "Authorization": f"Bearer {self._key}"}
        self._sockets.clear()
        async with self._session.request(
            method, self.url + path, headers=headers, data=body, allow_redirects=False, ssl=self.tls or True
        ) as response:
            own = self._own_address()
            return Reply(response.status, response.headers, await response.read(), own)

    @asynccontextmanager
    async def connect(
        self, *, origin: str | None = None, offered: Sequence[str] = (), credentials: bool = True
    ) -> AsyncIterator[ClientWebSocketResponse]:
        """A WebSocket, whose pings the caller answers. Raises as `ask`, and aiohttp.WSServerHandshakeError."""
        assert self._session is not None, "it was entered"
        protocols = [SUBPROTOCOL, *offered]
        if credentials and self._token:
            protocols.append(f"aerostack-token.{self._token}")
        elif credentials and self._key:
            protocols.append(f"aerostack-key.{self._key}")
        project = {"projectId": self._project} if self._project else {}
        wire = await self._session.ws_connect(
            f"{self.url}/api/realtime",
            params=project,
            protocols=protocols,
            origin=origin,
            autoping=False,
            compress=0,
            max_msg_size=_MAX_FRAME,
            ssl=self.tls or True,
            timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
        )
        try:
            yield wire
        finally:
            await wire.close()

    async def ask_to_upgrade(self, origin: str | None = None) -> Reply:
        """The answer to the request of a WebSocket that was refused, with its body."""
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": SUBPROTOCOL,
            **({} if origin is None else {"Origin": origin}),
        }
        return await self.ask("GET", "/api/realtime", headers)

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.append(made)
        return made

    def _own_address(self) -> tuple[str, int] | None:
        for each in reversed(self._sockets):
            try:
                host, port = each.getsockname()[:2]
            except OSError:
                continue
            return host, port
        return None
