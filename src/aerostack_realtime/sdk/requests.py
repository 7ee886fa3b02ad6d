"""One command and its answer."""

from typing import TypeVar

from aerostack_realtime.protocol.errors import Internal
from aerostack_realtime.protocol.messages import Reply
from aerostack_realtime.sdk.internals import ClientInternals, Command

_Answer = TypeVar("_Answer", bound=Reply)


async def ask(client: ClientInternals, id: str, command: Command, answer: type[_Answer]) -> _Answer:
    """Send a command, and return its answer. When the caller is cancelled the command is not sent again.

    Raises the error that the server answered, and Internal for an answer of another type.
    """
    try:
        reply = await client.request(id, command)
    finally:
        client.withdraw(id)
    if not isinstance(reply, answer):
        raise Internal(f"The server answered {type(command).__name__} with {type(reply).__name__}.")
    return reply
