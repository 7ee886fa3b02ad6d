"""Where the server is, who we are to it, and the two ways to reach it: a WebSocket and HTTP calls.

aiohttp's exceptions end here: what leaves is an AerostackError, or `ConnectionRefused` from `dial`. None carries a
credential; that is why aiohttp's own, which hold the request's headers, are not chained to them.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp import ClientSession, ClientTimeout, ClientWebSocketResponse, ClientWSTimeout

from aerostack_realtime.protocol.errors import AerostackError, Internal, Unavailable
from aerostack_realtime.protocol.frames import LARGEST_ROWS
from aerostack_realtime.sdk.reconnect_policy import NextStep, error_of, error_of_status, next_step_of_status

SUBPROTOCOL: Final = "aerostack-v1"
DIAL_SECONDS: Final = 10.0
"""For the handshake and the server's first frame, each: a server that takes longer is not well."""
_CALL_SECONDS: Final = 60.0  # an SQL statement may wait for the database
CLOSE_SECONDS: Final = 1.0
"""For the peer's answer to a close frame: one that is gone does not give any."""
_MAX_FRAME: Final = 2 * LARGEST_ROWS  # a row change carries whole rows; beyond this it is not of the protocol

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")  # RFC 9110 §5.6.2: what a sub-protocol is made of


class ConnectionRefused(Exception):
    """The server was not reached or did not let us in; `next_step` says what to do next."""

    def __init__(self, error: AerostackError, next_step: NextStep) -> None:
        super().__init__(error.message)
        self.error = error
        self.next_step = next_step


class Endpoint:
    """A project on a server, with this client's credentials. Its HTTP session opens on first use."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        project_id: str = "default",
        token: str | None = None,
        user_id: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.username or parts.query:
            raise ValueError("The url is that of the server, such as https://realtime.example.com.")
        self._url = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))
        self.project_id = project_id
        self._user_id = user_id
        self._api_key = _checked(api_key, "api_key")
        self._token = _checked(token, "token")
        self._session: ClientSession | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url} project {self.project_id!r}>"

    @property
    def token(self) -> str | None:
        """The JWT that says who the user is."""
        return self._token

    @token.setter
    def token(self, token: str | None) -> None:
        self._token = _checked(token, "token")

    async def dial(self) -> ClientWebSocketResponse:
        """Open a WebSocket. Raises ConnectionRefused."""
        protocols = [SUBPROTOCOL]
        if self._api_key:
            protocols.append(f"aerostack-key.{self._api_key}")
        if self._token:
            protocols.append(f"aerostack-token.{self._token}")
        params = {"projectId": self.project_id}
        if self._user_id is not None:
            params["userId"] = self._user_id
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await self._opened().ws_connect(
                    f"{self._url}/api/realtime",
                    params=params,
                    protocols=protocols,
                    compress=0,
                    max_msg_size=_MAX_FRAME,
                    timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except aiohttp.WSServerHandshakeError as refused:
            message = f"The server answered the WebSocket upgrade with HTTP {refused.status}."
            raise ConnectionRefused(
                error_of_status(refused.status, message), next_step_of_status(refused.status)
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            raise ConnectionRefused(self._unreachable(failure), "reconnect") from None

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """The decoded JSON of `GET path`. Raises AerostackError."""
        return await self._call("GET", path, params=params)

    async def post(self, path: str, body: object) -> Any:
        """The decoded JSON of `POST path` with `body` as JSON. Raises AerostackError."""
        return await self._call("POST", path, body=msgspec.json.encode(body))

    async def close(self) -> None:
        """Close the HTTP session; the next use opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key:
            headers["X-Aerostack-Key"] = self._api_key
        if self._token or self._api_key:
            headers["Authorization"] = f"Bearer {self._token or self._api_key}"
        try:
            async with self._opened().request(
                method, self._url + path, params=params, data=body, headers=headers
            ) as response:
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            raise self._unreachable(failure) from None
        try:
            answer = msgspec.json.decode(content) if content else None
        except msgspec.DecodeError:
            answer = None
            if status < 400:
                raise Internal(f"{method} {path} was answered with something that is not JSON.") from None
        if status >= 400:
            raise _refusal(status, answer, f"{method} {path} was answered with HTTP {status}.")
        return answer

    def _opened(self) -> ClientSession:
        if self._session is None or self._session.closed:
            self._session = ClientSession(timeout=ClientTimeout(total=_CALL_SECONDS, connect=DIAL_SECONDS))
        return self._session

    def _unreachable(self, failure: Exception) -> Unavailable:
        reason = str(failure) or type(failure).__name__
        return Unavailable(f"No connection to {self._url}: {reason.rstrip('.')}.")


def _refusal(status: int, answer: Any, otherwise: str) -> AerostackError:
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and "code" in error:
        return error_of(str(error["code"]), str(error.get("message", otherwise)))
    return error_of_status(status, otherwise)


def _checked(credential: str | None, name: str) -> str | None:
    if credential and not _TOKEN.fullmatch(credential):
        raise ValueError(f"The {name} has characters that cannot be sent; is it copied whole, without spaces?")
    return credential or None
