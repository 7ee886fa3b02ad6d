"""How many subscribers and members channels have, on this node or on all of them."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from aerostack_realtime.channels.custom.members import Members
from aerostack_realtime.channels.questions import Questions
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.protocol.topics import is_console

_KIND: Final = "channels"
_decode: Final = msgspec.json.Decoder(dict[str, int]).decode


class ChannelStatus(Struct, frozen=True, rename="camel"):
    """A channel as an operator sees it."""

    topic: str
    subscribers: int
    members: int


class ChannelCounts:
    """Counts the channels of one node, and asks the others for theirs."""

    def __init__(self, registry: Registry, members: Members, questions: Questions) -> None:
        self._registry = registry
        self._members = members
        self._questions = questions
        questions.handlers[_KIND] = self._subscribers

    def here(self) -> list[ChannelStatus]:
        """The channels that somebody on this node is subscribed to, or anybody is present on."""
        return self._statuses(Counter(self._subscribers(b"")))

    def everywhere(self, done: Callable[[list[ChannelStatus]], None]) -> None:
        """The channels that anybody is subscribed to or present on, counted over all nodes.

        Raises Overloaded, Unavailable.
        """

        def collected(answers: list[bytes]) -> None:
            subscribers: Counter[str] = Counter()
            for answer in answers:
                subscribers.update(_decode(answer))
            done(self._statuses(subscribers))

        self._questions.ask(_KIND, None, collected)

    def _statuses(self, subscribers: Counter[str]) -> list[ChannelStatus]:
        topics = dict.fromkeys([*subscribers, *self._members.topics()])
        return [ChannelStatus(topic, subscribers[topic], self._members.count(topic)) for topic in topics]

    def _subscribers(self, _: bytes) -> dict[str, int]:
        return {each.topic: each.subscribers for each in self._registry if not is_console(each.topic)}
