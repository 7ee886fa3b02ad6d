"""A subscription against a model of the server's log, under any interleaving."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from aerostack_realtime.protocol.messages import Event, Subscribed
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.subscription import Subscription

ROOM = "chat/room/default"
Step = Literal["publish", "arrive", "handle", "reconnect", "throw away"]
STEPS: list[Step] = ["publish", "arrive", "handle", "reconnect", "throw away"]


class World:
    """A log of numbers, a connection that carries them, and a user who handles them one by one."""

    def __init__(self) -> None:
        self.published = 0
        self.sent = 0
        self.requests = 0
        self.subscription = Subscription("chat/room", ROOM)
        self.waiting: list[Payload] = []
        self.handled: list[int] = []
        self.reconnect()

    def take(self, step: Step) -> None:
        match step:
            case "publish":
                self.published += 1
            case "arrive" if self.sent < self.published:
                self.sent += 1
                event = Event(ROOM, "message", Raw(b"%d" % self.sent), 1, "id", str(self.sent))
                if payload := self.subscription.receive(event):
                    self.waiting.append(payload)
            case "handle" if self.waiting:
                payload = self.waiting.pop(0)
                self.handled.append(payload.data)
                self.subscription.handled(payload)
            case "reconnect":
                self.reconnect()
            case "throw away":  # disconnect() and connect()
                self.waiting.clear()
                self.subscription.forget_unhandled()
                self.reconnect()

    def reconnect(self) -> None:
        self.requests += 1
        self.subscription.lost()
        request = self.subscription.request(str(self.requests))
        recovered = None if request.since is None else True
        self.sent = int(request.since or self.sent)
        assert not self.subscription.confirm(Subscribed(ROOM, str(self.sent), recovered, str(self.requests)))


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_every_event_is_handled_once_and_in_order(steps: list[Step]) -> None:
    world = World()
    for step in steps:
        world.take(step)
    while world.sent < world.published:
        world.take("arrive")
    while world.waiting:
        world.take("handle")
    assert world.handled == list(range(1, world.published + 1))
