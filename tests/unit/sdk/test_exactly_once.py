"""A subscription against a model of the server's log, under any interleaving of what can happen to it.

The log is the numbers from 1 on; a number's cursor is the number. The user's handlers hear each once and in order,
and a gap takes the place of what is missing.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw

from aerostack_realtime.protocol.messages import Event, Subscribed
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.subscription import Subscription

ROOM = "chat/room/default"


class SubscriptionMachine(RuleBasedStateMachine):
    """A server with a log, a connection that carries it, and a user who handles what comes one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.subscription = Subscription("chat/room", ROOM)
        self.published = 0  # the newest number
        self.forgotten = 0  # the newest that the server's log no longer has
        self.sent = 0  # the newest that this connection has carried
        self.replayed = 0  # the newest when the request that counts was answered
        self.requests = 0
        self.wanted: str | None = None  # the id of a request without an answer
        self.since: int | None = None
        self.waiting: list[Payload] = []
        self.handled: list[Payload] = []
        self.begin = 0  # where the subscription was confirmed first
        self.ask()
        self.answer()

    # --- the server's side ---

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        self.published += count

    @rule(published=st.integers(0, 4), arrived=st.integers(0, 6), handled=st.integers(0, 6))
    def converse(self, published: int, arrived: int, handled: int) -> None:
        """Some of everything, so that the other steps meet a subscription in the midst of its work."""
        self.publish(published)
        if self.wanted is not None:
            self.answer()
        for _ in range(min(arrived, self.published - self.sent)):
            self.arrive()
        for _ in range(min(handled, len(self.waiting))):
            self.handle()

    @rule()
    def forget(self) -> None:
        """The server restarts, and its log with it; the connection is gone."""
        self.forgotten = self.published
        self.lose()

    @precondition(lambda self: self.subscription.live and self.sent < self.published)
    @rule()
    def arrive(self) -> None:
        self.sent += 1
        self.take(self.subscription.receive(self.event(self.sent)))

    @precondition(lambda self: self.subscription.live and self.replayed <= self.sent < self.published)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """This client is slow, and asked for events to be dropped; what is replayed never is."""
        count = data.draw(st.integers(1, self.published - self.sent))
        self.sent += count
        self.take(self.subscription.confirm(Subscribed(ROOM, str(self.sent), recovered=False, dropped=count)))

    @precondition(lambda self: self.subscription.live)
    @rule()
    def interrupt(self) -> None:
        """The log loses its thread."""
        self.sent = self.published
        self.take(self.subscription.confirm(Subscribed(ROOM, str(self.sent), recovered=False)))

    @precondition(lambda self: self.wanted is not None)
    @rule()
    def answer(self) -> None:
        assert self.wanted is not None
        recovered = None if self.since is None else self.since >= self.forgotten
        self.sent = self.published if self.since is None else max(self.since, self.forgotten)
        if self.since is None:
            self.begin = self.sent
        self.replayed = self.published
        id, self.wanted = self.wanted, None
        self.take(self.subscription.confirm(Subscribed(ROOM, str(self.sent), recovered, id)))
        assert self.subscription.live

    @precondition(lambda self: self.wanted is not None)
    @rule(number=st.integers(1, 50))
    def hear_what_was_under_way(self, number: int) -> None:
        """Until the answer to the request that counts, what comes belongs to an older one."""
        assert self.subscription.confirm(Subscribed(ROOM, "99", recovered=False, id="an older one")) is None
        assert self.subscription.receive(self.event(number)) is None

    # --- the client's side ---

    @precondition(lambda self: self.waiting)
    @rule()
    def handle(self) -> None:
        payload = self.waiting.pop(0)
        self.handled.append(payload)
        self.subscription.handled(payload)

    @rule()
    def lose(self) -> None:
        """The connection is gone, or the subscription paused, and there is another request."""
        self.subscription.lost()
        self.ask()

    @rule()
    def throw_away(self) -> None:
        """disconnect() and connect(): what was received and not handled is thrown away."""
        self.waiting.clear()
        self.subscription.forget_unhandled()
        self.lose()

    @invariant()
    def each_once_in_order_and_no_gap_untold(self) -> None:
        position = self.begin
        for payload in self.handled:
            assert payload.cursor is not None
            reached = int(payload.cursor)
            if payload.name == "gap":
                assert reached >= position, "a gap does not lead back"
            else:
                assert reached == position + 1, "nothing is missing, repeated or out of order"
                assert payload.data == reached
            position = reached
        assert self.subscription.cursor == str(position)

    @invariant()
    def nothing_that_was_sent_is_forgotten(self) -> None:
        if self.subscription.live:
            newest = self.waiting[-1].cursor if self.waiting else self.subscription.cursor
            assert int(newest or 0) >= self.sent

    def teardown(self) -> None:
        """In the end everything comes, and is handled."""
        if self.wanted is not None:
            self.answer()
        while self.sent < self.published:
            self.arrive()
        while self.waiting:
            self.handle()
        self.each_once_in_order_and_no_gap_untold()
        assert self.subscription.cursor == str(self.published)

    # --- inside ---

    def event(self, number: int) -> Event:
        return Event(ROOM, "message", Raw(b"%d" % number), 1, "id", str(number))

    def take(self, payload: Payload | None) -> None:
        if payload is not None:
            self.waiting.append(payload)

    def ask(self) -> None:
        self.requests += 1
        self.wanted = str(self.requests)
        since = self.subscription.request(self.wanted).since
        self.since = None if since is None else int(since)


TestSubscription = SubscriptionMachine.TestCase
TestSubscription.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
