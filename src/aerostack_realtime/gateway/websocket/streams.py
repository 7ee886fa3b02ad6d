"""The commands of one connection about streams, and their answers."""

from msgspec import UNSET, UnsetType

from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.channels.outcome import Done
from aerostack_realtime.gateway.websocket.client import CommandClient
from aerostack_realtime.gateway.websocket.rights import Rights
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden


def open_stream(hub: Hub, client: CommandClient, command: messages.Publish, topic: str) -> None:
    """Open a stream on a canonical topic. Raises AerostackError."""
    if command.id is UNSET:
        raise BadMessage("A stream needs an id, by which its pieces name it.")
    if command.compacts is not UNSET:
        raise BadMessage("A stream compacts nothing: publish an ordinary message with compacts.")
    hub.streams.open(
        topic,
        command.event,
        command.data,
        _answer(client, topic, command.id, command.ref),
        user_id=client.user_id,
        id=command.id,
        persist=command.persist,
        connection=client.connection_id,
        by_key=_has_key(client),
    )


def append(hub: Hub, client: CommandClient, rights: Rights, command: messages.Append, topic: str) -> None:
    """Append a piece to a stream, or end it. A writer that has lost the right counts as gone until it is back.

    Raises AerostackError, Undecided.
    """
    try:
        rights.require(topic, "publish")
    except Forbidden:
        hub.streams.refused(topic, command.id, client.connection_id)
        raise
    data = bytes(command.data)
    hub.streams.append(
        topic,
        command.id,
        command.n,
        b"" if data == b"null" else data,
        command.state,
        _answer(client, topic, command.id, command.ref),
        user_id=client.user_id,
        connection=client.connection_id,
        by_key=_has_key(client),
    )


def cancel(hub: Hub, client: CommandClient, command: messages.Cancel, topic: str) -> None:
    """Ask the writer of a stream to stop. Raises AerostackError."""
    done = _answer(client, topic, command.id, command.ref)
    hub.streams.cancel(topic, command.id, command.reason, done, user_id=client.user_id)


def _has_key(client: CommandClient) -> bool:
    return client.identity is not None and client.identity.kind == "server"


def _answer(client: CommandClient, topic: str, id: str, ref: str | UnsetType) -> Done:
    def done(outcome: Outcome | AerostackError) -> None:
        if isinstance(outcome, AerostackError):
            client.send(messages.Error.of(outcome, topic, id, ref))
            return
        duplicate = True if outcome.duplicate else UNSET
        n, state = outcome.n or 0, outcome.state or UNSET
        client.send(messages.Ack(id, outcome.cursor, outcome.timestamp, duplicate, n, state, ref))

    return done
