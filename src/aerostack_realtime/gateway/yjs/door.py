"""The door for y-websocket clients: each is an ordinary session, whose frames are translated in both directions.

So the rules, the limits, and the end of a right are those of every session, and the document is the same.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from aerostack_realtime.gateway.websocket.repeated import RepeatedPublish
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.gateway.websocket.transport import Transport
from aerostack_realtime.gateway.yjs import wire
from aerostack_realtime.protocol import close_codes, documents, frames, messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage
from aerostack_realtime.protocol.presence import LEAVE

RENEW_SECONDS: Final = 10.0
"""Clients drop a state that was not renewed for 30 seconds. The server knows who is there, so it renews them."""


class DocumentReader(Protocol):
    """Reads documents by their canonical topics. Both methods raise BadMessage for a document that cannot be read,
    and Unavailable."""

    async def state_vector(self, topic: str) -> bytes: ...

    async def is_news(self, topic: str, update: bytes) -> bool: ...


class _Member(Struct, frozen=True, rename="camel"):
    """The state of a member that edits: its Yjs client, and its awareness."""

    client_id: int
    awareness: Raw = Raw(b"null")
    clock: int = 0


_decode_member = msgspec.json.Decoder(_Member).decode


class Door:
    """One y-websocket client on a canonical topic. It handles the frames of its socket, and is the transport of
    its session, which reads commands of at most `frame_bytes`."""

    def __init__(self, socket: Transport, topic: str, reader: DocumentReader, frame_bytes: int) -> None:
        self.repeated: RepeatedPublish | None = None  # unused: what it publishes is translated first
        self._socket = socket
        self._topic = topic
        self._reader = reader
        self._piece_bytes = frame_bytes // 2
        self._session: Session
        self._assembly = documents.Assembly()
        self._opened = False
        self._own: int | None = None
        self._states: dict[str, wire.State] = {}
        """The awareness of the others, by their connections. The clocks are this door's own."""
        self._renewal: asyncio.TimerHandle | None = None

    def serve(self, session: Session) -> None:
        """`session` writes to this door."""
        self._session = session

    # --- the frames of the socket --------------------------------------------------------------------------

    @property
    def closed(self) -> int | None:
        return self._session.closed

    def receive(self, _frame: bytes) -> None:
        """Text: y-websocket sends none."""
        self._session.binary(b"")

    def binary(self, data: bytes) -> Awaitable[None] | None:
        """A message of the client."""
        self._session.heard()
        try:
            message = wire.decode(data)
        except BadMessage:
            self._session.binary(data)
            return None
        match message:
            case wire.Step1():
                return self._step_1()
            case wire.Update(update, is_answer):
                return self._edit(update, is_answer=is_answer)
            case wire.Awareness(states):
                return self._own_state(states)
            case wire.QueryAwareness():
                self._send(wire.awareness(list(self._states.values())))
            case None:
                pass  # a kind of a later version
        return None

    def ahead(self, _frame: bytes) -> None:
        """Nothing is looked at ahead."""

    def leaving(self) -> None:
        self._session.leaving()

    def pong(self, payload: bytes) -> None:
        self._session.pong(payload)

    def control(self) -> None:
        self._session.control()

    def close(self, code: int, reason: str) -> None:
        self._session.close(code, reason)

    def lost(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._session.lost()

    # --- commands of the session ---------------------------------------------------------------------------

    async def _step_1(self) -> None:
        """The client asks for what it lacks: it gets everything, and is asked for what the server lacks."""
        if not self._opened and not await self._open():
            return
        try:
            state_vector = await self._reader.state_vector(self._topic)
        except AerostackError as error:
            self._session.close(close_codes.RESTART if error.retryable else close_codes.FORBIDDEN, error.message)
            return
        self._send(wire.step_2(wire.NOTHING))
        self._send(wire.step_1(state_vector))

    async def _open(self) -> bool:
        """Subscribe; whether that is allowed."""
        await self._command("subscribe", topic=self._topic, history="all", id="open")
        if self._opened:
            self._renew()
        return self._opened

    async def _edit(self, update: bytes, *, is_answer: bool) -> None:
        if update == wire.NOTHING or not self._opened:
            return
        try:
            if is_answer and not await self._reader.is_news(self._topic, update):
                return
        except AerostackError as error:
            self._session.close(
                close_codes.RESTART if error.retryable else close_codes.BAD_MESSAGES, error.message
            )
            return
        for data in self._data(update):
            id = secrets.token_urlsafe(12)
            await self._command(
                "publish", topic=self._topic, event=documents.EVENT, data=data, persist=True, echo=False, id=id
            )

    def _data(self, update: bytes) -> list[Any]:
        """The `data` of the messages that an update becomes."""
        if len(update) * 4 // 3 <= self._piece_bytes:
            return [documents.written(update)]
        return list(documents.pieces(update, secrets.token_urlsafe(12), self._piece_bytes))

    async def _own_state(self, states: tuple[wire.State, ...]) -> None:
        """Track the state of this client. A client repeats those of the others, which are ignored."""
        others = {each.client for each in self._states.values()}
        if self._own is None and len(states) == 1 and states[0].client not in others:
            self._own = states[0].client
        for each in states:
            if each.client != self._own:
                continue
            if each.state == "null":
                await self._command("untrack", topic=self._topic, id="state")
                continue
            state = {"clientId": each.client, "clock": each.clock, "awareness": Raw(each.state.encode())}
            await self._command("track", topic=self._topic, state=state, per="connection", id="state")

    async def _command(self, type: str, **fields: Any) -> None:
        try:
            frame = messages.encode({"type": type, **fields})
        except msgspec.MsgspecError:
            return
        pending = self._session.receive(frame)
        if pending is not None:
            await pending

    # --- the transport of the session ----------------------------------------------------------------------

    @property
    def write(self) -> Callable[[bytes], None]:
        return self._write

    @property
    def write_shared(self) -> None:
        """Updates are base64 inside and binary outside: there is nothing to compress."""

    @property
    def buffered(self) -> Callable[[], int]:
        return self._socket.buffered

    @property
    def is_stalled(self) -> bool:
        return self._socket.is_stalled

    def hang_up(self) -> None:
        self._socket.hang_up()

    def _write(self, data: bytes) -> None:
        """Translate the frames that the session writes."""
        while data:
            size = frames.size(data)
            frame, data = data[:size], data[size:]
            if frame[0] != frames.TEXT:
                self._socket.write(frame)
            elif (reply := messages.decode_reply(frames.payload(frame))) is not None:
                self._reply(reply)

    def _reply(self, reply: messages.Reply) -> None:
        match reply:
            case messages.Subscribed():
                if self._opened and reply.recovered is False:  # events are missing: it connects again and compares
                    self._session.close(close_codes.RESTART, "the log was interrupted: connect again")
                self._opened = True
            case messages.Event(event=documents.EVENT):
                self._update(reply)
            case messages.Event(connection_id=str()):
                self._presence(reply)
            case messages.Error():
                self._error(reply)
            case messages.Unsubscribed():
                self._send(wire.denied(reply.reason or ""))
                self._session.close(close_codes.FORBIDDEN, reply.reason or "the subscription ended")
            case _:
                pass  # acknowledgements, and what only other clients receive

    def _update(self, event: messages.Event) -> None:
        try:
            found = self._assembly.take(event.user_id or "", event.data)
        except BadMessage:
            return  # the same document is reported as corrupt where it is read
        if found is not None:
            self._send(wire.update(found))

    def _presence(self, event: messages.Event) -> None:
        connection = event.connection_id
        if connection is UNSET or connection == self._session.connection_id:
            return
        known = self._states.get(connection)
        if event.event == LEAVE:
            self._states.pop(connection, None)
            # A client that reconnected may be there twice for a moment, until its old connection times out.
            if known is not None and known.client not in {each.client for each in self._states.values()}:
                self._send(wire.awareness([wire.State(known.client, known.clock + 1, "null")]))
            return
        try:
            member = _decode_member(event.data)
        except msgspec.ValidationError:
            return  # a member that does not edit
        clock = max(member.clock, 0 if known is None else known.clock + 1)
        state = self._states[connection] = wire.State(member.client_id, clock, bytes(member.awareness).decode())
        self._send(wire.awareness([state]))

    def _error(self, error: messages.Error) -> None:
        if error.code == "forbidden":
            self._send(wire.denied(error.message))
            if not self._opened:
                self._session.close(close_codes.FORBIDDEN, error.message)
        elif error.id == "state":
            return  # presence is not allowed, or is limited; editing is not affected
        elif error.retryable or error.code in ("too_large", "bad_message"):
            # The client takes its edit for stored. It connects again and compares.
            self._session.close(
                close_codes.RESTART if error.retryable else close_codes.BAD_MESSAGES, error.message
            )

    def _renew(self) -> None:
        """Send the states of the others again before clients drop them."""
        if self._session.closed is not None:
            return
        for connection, state in self._states.items():
            self._states[connection] = replace(state, clock=state.clock + 1)
        if self._states:
            self._send(wire.awareness(list(self._states.values())))
        self._renewal = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _send(self, message: bytes) -> None:
        if self._session.closed is None:
            self._socket.write(frames.binary(message))
