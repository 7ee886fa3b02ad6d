"""`Aerostack`: one object with everything a backend needs of a project: emitting, SQL, and channels."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import Internal
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.connection import GetToken
from aerostack_realtime.sdk.endpoint import Endpoint
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.payload import Ack, QueryResult

Query = str | tuple[str, Sequence[Any]] | Mapping[str, Any]
"""A statement: SQL alone, `(sql, params)`, or `{"sql": …, "params": […]}`."""


class Socket:
    """Events from the server side, over HTTP: no WebSocket is opened for them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def emit(self, event: str, data: Any, topic: str, *, persist: bool = False) -> Ack:
        """Send `data` to all subscribers of `topic`; with `persist` it is in the history, too.

        Returns when the server has accepted it (stored it, with `persist`). Needs a key that may publish.
        Raises Unauthorized, Forbidden, InvalidTopic, TooLarge, or a retryable error.
        """
        room = topics.canonical(topic, self._endpoint.project_id)
        body = {"topic": room, "event": event, "data": data, "persist": persist, "id": new_id()}
        answer = await self._endpoint.post("/api/v1/realtime/publish", body)
        if not isinstance(answer, dict):
            raise Internal("The server answered a publish with something else than an acknowledgement.")
        return Ack(
            str(answer.get("id", body["id"])),
            answer.get("cursor"),
            answer.get("timestamp"),
            answer.get("duplicate") is True,
        )


class Db:
    """SQL on the project's database, over HTTP; needs the secret key."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def query(self, sql: str, params: Sequence[Any] = ()) -> QueryResult:
        """Run one statement with `?` placeholders, in a transaction of its own.

        Subscribers of the tables it changes are told by themselves. Raises BadMessage with the database's
        message for an SQL error, Unavailable (retryable) when the database stays locked.
        """
        answer = await self._endpoint.post("/v1/db/query", {"sql": sql, "params": list(params)})
        return QueryResult(answer["results"], answer["count"], answer.get("cursor"))

    async def batch(self, queries: Iterable[Query]) -> list[QueryResult]:
        """Run up to 25 statements in one transaction: all of them or, on the first error, none.

        Raises as `query`.
        """
        answer = await self._endpoint.post("/v1/db/batch", {"queries": [_statement(each) for each in queries]})
        cursor = answer.get("cursor")
        return [QueryResult(each["results"], each["count"], cursor) for each in answer["results"]]


class Aerostack:
    """A project on a server.

        async with Aerostack("http://127.0.0.1:8787", api_key="ac_secret_dev") as sdk:
            await sdk.db.query("INSERT INTO orders (total) VALUES (?)", [99.99])
            await sdk.socket.emit("message", {"text": "shipped"}, "notifications/42")
            async for event in sdk.realtime.channel("orders"):
                print(event.operation, event.data)

    Arguments are those of RealtimeClient. Nothing is connected before it is needed; leaving the block closes
    everything.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        project_id: str = "default",
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

    async def close(self) -> None:
        """Disconnect and let go of all connections."""
        await self.realtime.disconnect()
        await self._endpoint.close()


def _statement(query: Query) -> dict[str, Any]:
    if isinstance(query, str):
        return {"sql": query, "params": []}
    if isinstance(query, Mapping):
        return {"sql": query["sql"], "params": list(query.get("params", ()))}
    sql, params = query
    return {"sql": sql, "params": list(params)}
