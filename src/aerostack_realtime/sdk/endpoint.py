"""The servers, this client's credentials, and the two ways to reach a server: a WebSocket and HTTP calls.

aiohttp's exceptions end here: callers see an AerostackError, or `ConnectionRefused` from `dial`. None carries a
credential; that is why aiohttp's exceptions, which hold the request's headers, are not chained to them.
"""

import asyncio
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import ClientSession, ClientTimeout, ClientWebSocketResponse, ClientWSTimeout

from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Internal, InvalidTopic, Unavailable
from aerostack_realtime.protocol.frames import LARGEST_ROWS
from aerostack_realtime.sdk.reconnect_policy import NextStep, error_of, error_of_status, next_step_of_status
from aerostack_realtime.sdk.server_list import ServerList

SUBPROTOCOL: Final = "aerostack-v1"
DIAL_SECONDS: Final = 10.0
"""For the handshake and for the server's first frame, each."""
_CALL_SECONDS: Final = 60.0  # an SQL statement may wait for the database
CLOSE_SECONDS: Final = 1.0
"""For the peer's answer to a close frame; a peer that is gone does not answer."""
_MAX_FRAME: Final = 2 * LARGEST_ROWS  # a row change holds whole rows; no frame of the protocol is larger

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")  # RFC 9110 §5.6.2: the characters of a sub-protocol

_Answer = TypeVar("_Answer")


class ConnectionRefused(Exception):
    """No server was reached, or one refused the connection; `next_step` says what to do."""

    def __init__(self, error: AerostackError, next_step: NextStep) -> None:
        super().__init__(error.message)
        self.error = error
        self.next_step = next_step


class Endpoint:
    """A project on one or several equal servers, with this client's credentials.

    An absent or empty `project_id` means the server's own project. The HTTP session opens on first use.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        api_key: str | None = None,
        project_id: str | None = None,
        token: str | None = None,
        user_id: str | None = None,
    ) -> None:
        self._servers = ServerList(url)
        self._project = project_id or ""
        self._user_id = user_id
        self._api_key = _checked(api_key, "api_key")
        self._token = _checked(token, "token")
        self._session: ClientSession | None = None

    def __repr__(self) -> str:
        project = f" project {self._project!r}" if self._project else ""
        return f"<{type(self).__name__} {self._servers}{project}>"

    @property
    def token(self) -> str | None:
        """The JWT that says who the user is."""
        return self._token

    @token.setter
    def token(self, token: str | None) -> None:
        self._token = _checked(token, "token")

    def channel_name(self, topic: str) -> str:
        """The topic without its project, `table/orders` or `chat/general`: the same for all spellings of a topic.

        Raises InvalidTopic.
        """
        return topics.without_project(topics.canonical(_text(topic), self._project))

    def wire_topic(self, topic: str) -> str:
        """The topic as it is sent: canonical where the project is known, otherwise without it. Raises
        InvalidTopic."""
        return topics.canonical(_text(topic), self._project) if self._project else self.channel_name(topic)

    def next_server(self) -> None:
        """The connection to the current server ended: the next dial begins with another one."""
        self._servers.advance()

    async def dial(self) -> ClientWebSocketResponse:
        """Open a WebSocket to the first server that can be reached. Raises ConnectionRefused."""
        refused: ConnectionRefused | None = None
        for server in self._servers.attempts():
            try:
                return await self._dial(server)
            except ConnectionRefused as each:
                if each.next_step != "reconnect":
                    raise
                refused = each
        assert refused is not None, "there is at least one server"
        raise refused

    async def get(self, path: str, params: Mapping[str, str], answer: type[_Answer]) -> _Answer:
        """The answer to `GET path`. Raises AerostackError."""
        return await self._call("GET", path, answer, params=params, repeatable=True)

    async def post(self, path: str, body: object, answer: type[_Answer], *, repeatable: bool = False) -> _Answer:
        """The answer to `POST path` with `body` as JSON. Raises AerostackError.

        A `repeatable` call may reach several servers, as when one dies before it answers.
        """
        try:
            content = msgspec.json.encode(body)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
            raise BadMessage(f"The arguments cannot be written as JSON: {wrong}") from wrong
        return await self._call("POST", path, answer, body=content, repeatable=repeatable)

    async def close(self) -> None:
        """Close the HTTP session; the next use opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _dial(self, server: str) -> ClientWebSocketResponse:
        protocols = [SUBPROTOCOL]
        if self._api_key:
            protocols.append(f"aerostack-key.{self._api_key}")
        if self._token:
            protocols.append(f"aerostack-token.{self._token}")
        params = {"projectId": self._project} if self._project else {}
        if self._user_id is not None:
            params["userId"] = self._user_id
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                socket = await self._opened().ws_connect(
                    f"{server}/api/realtime",
                    params=params,
                    protocols=protocols,
                    compress=zlib.MAX_WBITS,
                    max_msg_size=_MAX_FRAME,
                    timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
                _send_uncompressed(socket)
                return socket
        except aiohttp.WSServerHandshakeError as refused:
            raise ConnectionRefused(
                error_of_status(refused.status, _handshake_message(refused.status, server)),
                next_step_of_status(refused.status),
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            raise ConnectionRefused(_unreachable(server, failure), "reconnect") from None

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[_Answer],
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool,
    ) -> _Answer:
        error = Unavailable("No server was asked.")
        for server in self._servers.attempts():
            try:
                status, content = await self._request(method, server + path, params, body)
            except aiohttp.ClientConnectorError as failure:  # nothing was sent
                error = _unreachable(server, failure)
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                error = _unreachable(server, failure)
                if not repeatable:
                    break
            else:
                return _decoded(status, content, answer, f"{method} {path}")
        raise error from None

    async def _request(
        self, method: str, url: str, params: Mapping[str, str] | None, body: bytes | None
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key:
            headers["X-Aerostack-Key"] = self._api_key
        if self._token or self._api_key:
            headers["Authorization"] = f"Bearer {self._token or self._api_key}"
        if self._project:
            headers["X-Project-Id"] = self._project  # else the topics would only have one segment more there
        async with self._opened().request(method, url, params=params, data=body, headers=headers) as response:
            return response.status, await response.read()

    def _opened(self) -> ClientSession:
        if self._session is None or self._session.closed:
            self._session = ClientSession(timeout=ClientTimeout(total=_CALL_SECONDS, connect=DIAL_SECONDS))
        return self._session


def _send_uncompressed(socket: ClientWebSocketResponse) -> None:
    """Compress nothing that is sent: most commands are short, and aiohttp would compress each of them, which takes
    more CPU than the rest of sending."""
    writer: Any = getattr(socket, "_writer", None)
    if writer is not None:
        writer.compress = 0


class _Refusal(msgspec.Struct):
    """The body of an HTTP error."""

    class Error(msgspec.Struct):
        code: str
        message: str = ""

    error: Error


def _decoded(status: int, content: bytes, answer: type[_Answer], call: str) -> _Answer:
    if status >= 400:
        try:
            error = msgspec.json.decode(content, type=_Refusal).error
        except (msgspec.MsgspecError, RecursionError):
            raise error_of_status(status, f"The server answered {call} with HTTP {status}.") from None
        raise error_of(error.code, error.message or f"The server answered {call} with HTTP {status}.")
    try:
        return msgspec.json.decode(content, type=answer)
    except RecursionError:
        raise BadMessage(f"The answer to {call} is nested deeper than this Python version can read.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise Internal(f"The server's answer to {call} cannot be read: {wrong}. Is this url a server's?") from None


def _handshake_message(status: int, server: str) -> str:
    match status:
        case 404:
            return f"There is no Aerostack server at {server} (HTTP 404); check the url."
        case 401 | 403:
            return f"{server} refused the connection (HTTP {status}); check the key, the token and the project."
        case _:
            return f"{server} answered the WebSocket upgrade with HTTP {status}."


def _unreachable(server: str, failure: Exception) -> Unavailable:
    return Unavailable(
        f"No connection to {server}: {reason_of(failure)}. Check that a server runs there, and the address."
    )


def reason_of(failure: Exception) -> str:
    """Why a server could not be reached, without a full stop."""
    if isinstance(failure, aiohttp.ClientConnectorError) and (number := failure.os_error.errno or 0) > 0:
        return os.strerror(number)  # aiohttp's text repeats the address
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure).rstrip(".") or type(failure).__name__


def _text(topic: object) -> str:
    """The topic, if it is a text. Raises InvalidTopic."""
    if isinstance(topic, str):
        return topic
    raise InvalidTopic(f"A topic is a text such as 'orders' or 'chat/general', not {topic!r:.80}.")


def _checked(credential: str | None, name: str) -> str | None:
    if credential and not _TOKEN.fullmatch(credential):
        raise ValueError(f"The {name} has characters that cannot be sent; is it copied whole, without spaces?")
    return credential or None
