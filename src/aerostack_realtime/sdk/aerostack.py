"""`Aerostack`: one object with everything that a backend needs: events, SQL, presence, history and channels."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from aerostack_realtime.protocol.explanations import Explanation
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.connection import GetToken
from aerostack_realtime.sdk.document import Document
from aerostack_realtime.sdk.endpoint import Endpoint
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.payload import Ack, HistoryMessage, PresentMember, QueryResult

Query = str | tuple[str, Sequence[Any]] | Mapping[str, Any]
"""A statement: SQL alone, `(sql, params)`, or `{"sql": …, "params": […]}`."""


class Socket:
    """Events from the server side, over HTTP; they open no WebSocket."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def emit(
        self, event: str, data: Any, topic: str, *, persist: bool = False, traceparent: str | None = None
    ) -> Ack:
        """Send `data` to all subscribers of `topic`; with `persist` it becomes part of the history.

        Returns when the server has accepted it (stored it, with `persist`). Subscribers receive `traceparent` (W3C
        Trace Context) with the event. Needs a key that may publish. Raises Unauthorized, Forbidden, InvalidTopic,
        BadMessage, TooLarge, or a retryable error.
        """
        id = new_id()
        body = {
            "topic": self._endpoint.wire_topic(topic),
            "event": event,
            "data": data,
            "persist": persist,
            "id": id,
            "traceparent": traceparent,
        }
        answer = await self._endpoint.post("/api/v1/realtime/publish", body, _Published, repeatable=True)
        return Ack(id, answer.cursor, answer.timestamp, answer.duplicate)


class Db:
    """SQL on the project's database, over HTTP; needs the secret key."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def query(self, sql: str, params: Sequence[Any] = ()) -> QueryResult:
        """Run one statement with `?` placeholders, in a transaction of its own.

        Subscribers of the tables that it changes are notified automatically. Raises BadMessage with the database's
        message for an SQL error, Unavailable (retryable) when the database stays locked.
        """
        answer = await self._endpoint.post("/v1/db/query", {"sql": sql, "params": list(params)}, _Result)
        return QueryResult(answer.results, answer.count, answer.cursor)

    async def batch(self, queries: Iterable[Query]) -> list[QueryResult]:
        """Run up to 25 statements in one transaction: all of them or, on the first error, none.

        Raises like `query`.
        """
        statements = [_statement(each) for each in queries]
        answer = await self._endpoint.post("/v1/db/batch", {"queries": statements}, _BatchResult)
        return [QueryResult(each.results, each.count, answer.cursor) for each in answer.results]


class Aerostack:
    """A project on a server.

        async with Aerostack("http://127.0.0.1:8787", api_key="ac_secret_dev") as sdk:
            await sdk.db.query("INSERT INTO orders (total) VALUES (?)", [99.99])
            await sdk.socket.emit("message", {"text": "shipped"}, "notifications/42")
            async for event in sdk.realtime.channel("orders"):
                print(event.operation, event.data)

    The arguments are those of RealtimeClient. Connections open on first use; leaving the block closes them.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        api_key: str | None = None,
        project_id: str | None = None,
        token: str | None = None,
        user_id: str | None = None,
        get_token: GetToken | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._endpoint = Endpoint(url, api_key=api_key, project_id=project_id, token=token, user_id=user_id)
        self.realtime = RealtimeClient(self._endpoint, get_token=get_token, backoff=backoff)
        self.socket = Socket(self._endpoint)
        self.db = Db(self._endpoint)

    def __repr__(self) -> str:
        return f"<Aerostack {self._endpoint!r}>"

    async def __aenter__(self) -> "Aerostack":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def presence(self, topic: str) -> list[PresentMember]:
        """The members present in a channel, over HTTP. Raises Unauthorized, Forbidden, or a retryable error."""
        params = {"topic": self._endpoint.wire_topic(topic)}
        answer = await self._endpoint.get("/api/v1/realtime/presence", params, _Presence)
        return [PresentMember(each.user_id, each.state, each.since, each.connection_id) for each in answer.members]

    def document(self, topic: str) -> Document:
        """A document that several programs edit at once: `async with sdk.document("docs/7") as document`.

        Needs the extra `documents`. Raises ValueError when this client has subscribed to the topic.
        """
        return Document(self.realtime.channel(topic, history="all"))

    async def history(self, topic: str, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """The newest persisted messages of a channel. See Channel.get_history."""
        return await self.realtime.history(topic, limit, before)

    async def disconnect(self, user_id: str) -> int:
        """Close the connections of a user; returns their number. Needs the secret key.

        The user's clients stay disconnected until they connect again. Raises Unauthorized, Forbidden, or a
        retryable error.
        """
        path = "/api/v1/realtime/disconnect"
        return (await self._endpoint.post(path, {"userId": user_id}, _Closed, repeatable=True)).closed

    async def revoke(self, *, user_id: str | None = None, token_id: str | None = None) -> int:
        """Invalidate the tokens issued to a user until now, or the one token whose `jti` is `token_id`; returns
        the number of connections that were closed. Needs the secret key.

        Raises ValueError unless exactly one is given, Unauthorized, Forbidden, or a retryable error.
        """
        if (user_id is None) == (token_id is None):
            raise ValueError("Pass either user_id or token_id.")
        body = {"userId": user_id} if token_id is None else {"tokenId": token_id}
        return (await self._endpoint.post("/api/v1/realtime/revoke", body, _Closed, repeatable=True)).closed

    async def explain(
        self,
        topic: str | None = None,
        *,
        user_id: str | None = None,
        event: str | None = None,
        row: str | None = None,
        access: str | None = None,
        connection_id: str | None = None,
    ) -> Explanation:
        """Why a user did or did not receive an `event` (its id) or a change of a `row` (a key, or `column=value`),
        whether the user has a right now (`access`: subscribe, publish, presence, history, cancel, compact), or why
        a connection ended. Needs the secret key.

        Raises BadMessage for a question that names too little or too much, NotFound for an unknown table,
        Unauthorized, Forbidden, or a retryable error.
        """
        asked = {
            "topic": None if topic is None else self._endpoint.wire_topic(topic),
            "user": user_id,
            "event": event,
            "row": row,
            "access": access,
            "connection": connection_id,
        }
        params = {name: value for name, value in asked.items() if value is not None}
        return await self._endpoint.get("/api/v1/realtime/explain", params, Explanation)

    async def close(self) -> None:
        """Disconnect and close all connections."""
        await self.realtime.disconnect()
        await self._endpoint.close()


class _Published(msgspec.Struct):
    cursor: str | None = None
    timestamp: int | None = None
    duplicate: bool = False


class _Result(msgspec.Struct):
    results: list[dict[str, Any]]
    count: int
    cursor: str | None = None


class _BatchResult(msgspec.Struct):
    results: list[_Result]
    cursor: str | None = None


class _Member(msgspec.Struct, rename="camel"):
    user_id: str
    state: Any
    since: int
    connection_id: str | None = None


class _Presence(msgspec.Struct):
    members: list[_Member]


class _Closed(msgspec.Struct):
    closed: int


def _statement(query: Query) -> dict[str, Any]:
    if isinstance(query, str):
        return {"sql": query, "params": []}
    if isinstance(query, Mapping):
        return {"sql": query["sql"], "params": list(query.get("params", ()))}
    sql, params = query
    return {"sql": sql, "params": list(params)}
