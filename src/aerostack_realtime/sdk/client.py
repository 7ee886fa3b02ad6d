"""The realtime client: what an app holds."""

from collections.abc import Callable, Sequence
from types import TracebackType

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import Filter, Slow, encode
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.channel import Channel
from aerostack_realtime.sdk.connection import GetToken, Status
from aerostack_realtime.sdk.endpoint import Endpoint
from aerostack_realtime.sdk.live_table import LiveTable
from aerostack_realtime.sdk.payload import HistoryMessage
from aerostack_realtime.sdk.session import Session
from aerostack_realtime.sdk.subscription import History, Key, Options, Subscription
from aerostack_realtime.sdk.window import Window


class RealtimeClient:
    """Channels over one WebSocket that reconnects automatically.

    - `url`: the server's, such as `https://realtime.example.com`, or a list of equal servers: the client picks one
      at random and fails over to the others.
    - `project_id`: needed only to name a project explicitly; by default it is the server's own.
    - `token`: a JWT that says who the user is. `get_token`, a plain or async function, returns one; it is called
      when there is none and when the server no longer accepts the last one.
    - `user_id`: counts only on a server that admits anonymous clients.

    All methods belong to one event loop. Raises InvalidUrl (a ValueError too) for a url without a scheme or host.
    """

    def __init__(
        self,
        url: str | Sequence[str] | Endpoint,
        *,
        api_key: str | None = None,
        project_id: str | None = None,
        token: str | None = None,
        user_id: str | None = None,
        get_token: GetToken | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._owns_endpoint = not isinstance(url, Endpoint)
        self._endpoint = (
            url
            if isinstance(url, Endpoint)
            else Endpoint(url, api_key=api_key, project_id=project_id, token=token, user_id=user_id)
        )
        self._session = Session(self._endpoint, backoff, get_token)

    def __repr__(self) -> str:
        return f"<RealtimeClient {self._endpoint!r} {self.status}>"

    async def __aenter__(self) -> "RealtimeClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    # --- the connection ----------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """`idle`, `connecting`, `connected`, `reconnecting` or `disconnected`."""
        return self._session.connection.status

    async def connect(self) -> None:
        """Connect, and return when connected. Operations on channels connect automatically.

        A server that cannot be reached is tried again, with back-off, for as long as the caller waits. Raises
        Unauthorized, Forbidden, NotFound or BadMessage when the server refuses for good.
        """
        self._session.connection.open()
        await self._session.connection.wait_opened()

    async def disconnect(self) -> None:
        """Close the connection. Waiting calls fail with Unavailable, running handlers are cancelled, iterations
        end. A later `connect` restores the subscriptions and the presence."""
        await self._session.close()
        if self._owns_endpoint:
            await self._endpoint.close()

    def set_token(self, token: str) -> None:
        """Use another JWT from now on, also on the open connection; reconnects if the server had refused the last
        one. If the server refuses this one, `on_error` reports it."""
        self._endpoint.token = token
        connection = self._session.connection
        if connection.status == "connected":
            connection.send(encode(messages.Auth(token)))
        elif connection.status == "disconnected" and connection.error is not None:
            connection.open()

    def on_status_change(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every new status. Returns a function that removes it."""
        return self._session.on_status_change(callback)

    def on_error(self, callback: Callable[[AerostackError], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every error that no call waits for: a refused token, a subscription
        that could not be restored, the end of the connection. Returns a function that removes it.

        Without a callback these errors are logged as warnings."""
        return self._session.on_error(callback)

    # --- channels ----------------------------------------------------------------------------------------

    def channel(
        self,
        topic: str,
        *,
        filter: Filter | None = None,
        since: str | None = None,
        slow: Slow | None = None,
        key: Key | None = None,
        streams: bool | None = None,
        history: History | None = None,
    ) -> Channel:
        """Get or create the channel of `topic`; it is the same object for as long as you hold or use it.

        `orders` is the table orders, `chat/general` a custom channel. `filter` limits the rows of a table:
        `{column: value}` or `{column: {"gte": value}}`; all conditions must hold. `since` continues after a cursor
        instead of from now on.

        `slow` says what the server does while this client cannot keep up. `resume` (the default) sends everything,
        if necessary after a reconnect. `latest` sends the newest event of each name, with `key` the newest for
        each value of that member of the data; on a table it sends the net change of each row, and needs its `key`.
        `drop` drops events and reports their number as a `gap`.

        With `streams`, messages that are written piece by piece arrive as they grow; without it, once they are
        whole. `history`: the number of stored messages to begin with, or "all".

        Raises InvalidTopic, and ValueError when the channel is subscribed with other options.
        """
        name = self._endpoint.channel_name(topic)
        channel = self._session.channels.get(name)
        if channel is not None:
            channel._reconfigure(
                Options(filter=filter, since=since, slow=slow, key=key, streams=streams, history=history)
            )
            return channel
        wire_topic = self._endpoint.wire_topic(topic)
        subscription = Subscription(
            topic,
            wire_topic,
            filter,
            since,
            slow=slow or "resume",
            key=key,
            streams=streams or False,
            history=history,
        )
        channel = self._session.channels[name] = Channel(self._session, name, subscription)
        return channel

    def table(
        self,
        name: str,
        *,
        filter: Filter | None = None,
        order: str | None = None,
        limit: int | None = None,
        key: str = "id",
        slow: Slow = "resume",
    ) -> LiveTable:
        """The rows of a table as a mapping that follows every change: `async with client.table("orders") as rows`.

        `filter` is that of `channel`. `order` is a column, `-column` for descending. `limit` keeps the first rows
        of that order, and replaces a row that leaves by the next one. `key` is the column that identifies a row,
        ideally the primary key. `slow` is that of `channel`: `latest` skips intermediate states of a row, and
        after a gap of `drop` the rows are loaded again. Raises InvalidTopic, and ValueError when this client
        already uses the topic.
        """
        channel_name = self._endpoint.channel_name(name)
        if channel_name in self._session.in_use:
            raise ValueError(f"{name!r} is subscribed already; unsubscribe it, or use another client.")
        window = Window(order, limit, key)
        subscription = Subscription(
            name,
            self._endpoint.wire_topic(name),
            filter,
            snapshot=window.wanted,
            slow=slow,
            key=key if slow == "latest" else None,
        )
        channel = Channel(self._session, channel_name, subscription)
        self._session.channels[channel_name] = channel
        return LiveTable(channel, window, key)

    async def history(self, topic: str, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """Like `Channel.get_history`, for any topic."""
        return await self._session.history(topic, limit, before)
