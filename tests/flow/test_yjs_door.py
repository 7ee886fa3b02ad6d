"""The door for y-websocket clients: the same document as that of everyone else, by the same rules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pycrdt
import pytest

from aerostack_realtime import Aerostack
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
SETTINGS = 'anonymous = true\n[[documents]]\ntopic = "docs/{id}"\n'
SYNC, AWARENESS, AUTH = 0, 1, 2


class Client:
    """A client of y-websocket, made of another implementation of its protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, client_id: int) -> None:
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client_id)
        self.text = self.doc.get("content", type=pycrdt.Text)
        self.awareness = pycrdt.Awareness(self.doc)
        self.denied = asyncio.Event()
        self.synced = asyncio.Event()
        self.changed = asyncio.Event()
        self.closed: int | None = None
        self._socket = socket
        self._applying = False
        self._edits: list[bytes] = []
        self._observed = self.doc.observe(self._edited)

    async def run(self) -> None:
        """Synchronise, until the socket is closed."""
        await self._socket.send_bytes(pycrdt.create_sync_message(self.doc))
        async for message in self._socket:
            data = message.data
            if data[0] == SYNC:
                await self._sync(data[1:])
            elif data[0] == AWARENESS:
                self.awareness.apply_awareness_update(pycrdt.read_message(data[1:]), None)
            elif data[0] == AUTH:
                self.denied.set()
            self.changed.set()
        self.closed = self._socket.close_code
        self.changed.set()

    async def send(self) -> None:
        """Send the edits that wait."""
        edits, self._edits = self._edits, []
        for edit in edits:
            await self._socket.send_bytes(pycrdt.create_update_message(edit))

    async def show(self, state: dict[str, Any] | None) -> None:
        """Send a state of this client."""
        self.awareness.set_local_state(state)
        update = self.awareness.encode_awareness_update([self.doc.client_id])
        await self._socket.send_bytes(pycrdt.create_awareness_message(update))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _sync(self, message: bytes) -> None:
        self._applying = True
        answer = pycrdt.handle_sync_message(message, self.doc)
        self._applying = False
        if answer is not None:
            await self._socket.send_bytes(answer)
        elif message[0] == pycrdt.YSyncMessageType.SYNC_STEP2:
            self.synced.set()

    def _edited(self, event: pycrdt.TransactionEvent) -> None:
        if not self._applying:
            self._edits.append(event.update)


Enter = Callable[..., Awaitable[Client]]


@pytest.fixture
async def enter() -> AsyncIterator[Enter]:
    """Connect a client: `await enter(node, 1, user="ann")`."""
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        numbers: list[asyncio.Task[None]] = []

        async def connect(
            node: "ServerProcess", client_id: int, topic: str = "docs/door", text: str = "", **query: str
        ) -> Client:
            socket = await session.ws_connect(f"{node.url}/yjs/{topic}", params=query)
            stack.push_async_callback(socket.close)
            client = Client(socket, client_id)
            if text:
                client.text.insert(0, text)
            numbers.append(asyncio.create_task(client.run()))
            return client

        yield connect
        for task in numbers:
            task.cancel()


async def test_all_clients_edit_the_same_document(serve: Serve, enter: Enter) -> None:
    node = await serve(SETTINGS)
    async with Aerostack(node.url, api_key=node.secret_key) as sdk:
        async with sdk.document("docs/door") as document:
            document.text().insert(0, "Hello")
            await document.saved()
            ann, bob = await enter(node, 1, text="offline "), await enter(node, 2)
            await ann.until(lambda: "Hello" in str(ann.text))
            await bob.until(lambda: "Hello" in str(bob.text))
            await ann.until(ann.synced.is_set)
            await bob.until(bob.synced.is_set)
            await bob.until(lambda: "offline" in str(bob.text))
            bob.text.insert(0, "x" * 200_000)
            await bob.send()
            await ann.until(lambda: len(str(ann.text)) > 200_000)
            changed = asyncio.Event()
            document.on_change(changed.set)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while str(document.text()) != str(ann.text):
                    changed.clear()
                    await changed.wait()
        assert str(ann.text) == str(bob.text)
        stored = await sdk.history("docs/door", 1_000)
        again = await enter(node, 3)
        await again.until(again.synced.is_set)
        again.text.insert(0, "!")
        await again.send()
        await ann.until(lambda: str(ann.text).startswith("!"))
        assert len(await sdk.history("docs/door", 1_000)) == len(stored) + 1, "known edits are not stored again"


async def test_cursors_are_shared_with_members_per_connection(serve: Serve, enter: Enter) -> None:
    node = await serve(SETTINGS)
    ann, bob = await enter(node, 1, userId="ann"), await enter(node, 2, userId="bob")
    for client in (ann, bob):
        await client.until(client.synced.is_set)
    await ann.show({"name": "Ann"})
    await bob.until(lambda: 1 in bob.awareness.states)
    async with Aerostack(node.url, api_key=node.secret_key) as sdk:
        channel = sdk.realtime.channel("docs/door")
        [member] = await channel.presence()
        assert member.state == {"clientId": 1, "clock": 1, "awareness": {"name": "Ann"}}
        assert member.connection_id is not None
        await channel.track({"clientId": 7, "clock": 0, "awareness": {"name": "Sdk"}}, per="connection")
        await ann.until(lambda: ann.awareness.states.get(7) == {"name": "Sdk"})
        late = await enter(node, 3)
        await late.until(lambda: {1, 7} <= late.awareness.states.keys())
    await ann.show(None)
    await bob.until(lambda: not {1, 7} & bob.awareness.states.keys())


async def test_the_rules_hold_at_the_door(serve: Serve, enter: Enter) -> None:
    node = await serve(
        SETTINGS + '[[channels]]\ntopic = "docs/{id}"\nsubscribe = "anyone"\nhistory = "anyone"\n'
        '[[documents]]\ntopic = "secret/{id}"'
    )
    reader = await enter(node, 1)
    await reader.until(reader.synced.is_set)
    reader.text.insert(0, "Not mine")
    await reader.send()
    await reader.until(reader.denied.is_set)
    stranger = await enter(node, 2, topic="secret/1")
    await stranger.until(lambda: stranger.closed is not None)
    assert (stranger.closed, stranger.denied.is_set()) == (4403, True)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await enter(node, 3, topic="chat/general")
    assert refused.value.status == 404
    async with Aerostack(node.url, api_key=node.secret_key) as sdk:
        assert await sdk.history("docs/door") == []


async def test_what_is_not_the_protocol_ends_the_connection(serve: Serve, enter: Enter) -> None:
    node = await serve(SETTINGS)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}/yjs/docs/1") as socket:
        for _ in range(30):
            await socket.send_bytes(b"\1\xff\xff")
        assert (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4400
