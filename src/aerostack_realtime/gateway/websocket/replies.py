"""The replies to commands that failed."""

from contextlib import suppress

from msgspec import UNSET

from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, InvalidTopic


def failed(command: messages.Command, failure: AerostackError, project: str) -> messages.Error:
    """The error that answers `command`: it repeats its id and its `ref`, and names its topic in canonical form."""
    topic = getattr(command, "topic", UNSET)
    if topic is not UNSET:
        with suppress(InvalidTopic):
            topic = topics.canonical(topic, project)
    id, ref = getattr(command, "id", UNSET), getattr(command, "ref", UNSET)
    return messages.Error.of(failure, topic, id, ref)
