"""The logs of channels against a model that forgets nothing, under any order of events, expiry and questions."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aerostack_realtime.channels.custom.budget import ENTRY_BYTES
from aerostack_realtime.channels.custom.log import Bounds, Log
from aerostack_realtime.channels.custom.logs import Logs

START = 1_000
TOPICS = {
    "small/1/p": Bounds(count=5, bytes=400, age=30),
    "small/2/p": Bounds(count=5, bytes=400, age=30),
    "large/1/p": Bounds(count=1_000, bytes=100_000, age=5_000),
    "other/1/p": Bounds(),
}
LIMIT = 12_000
NEWEST = 12
"""Events before each of which a client resumes."""

Topic = st.sampled_from(sorted(TOPICS))


class LogMachine(RuleBasedStateMachine):
    """Everything that was ever sent, in lists beside the logs."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = Logs([("small/*", TOPICS["small/1/p"]), ("large/*", TOPICS["large/1/p"])], LIMIT)
        self.log: dict[str, Log] = {topic: self.logs.log(topic, START) for topic in TOPICS}
        self.sent: dict[str, list[tuple[int, bytes]]] = {topic: [] for topic in TOPICS}
        self.forgotten = START
        self.position = START

    @rule(topic=Topic, steps=st.integers(1, 50), size=st.integers(1, 300))
    def send(self, topic: str, steps: int, size: int) -> None:
        self.position += steps
        frame = b"%d " % self.position + b"x" * size
        self.log[topic].append(self.position, frame)
        self.sent[topic].append((self.position, frame))

    @rule(topic=Topic, count=st.integers(1, 60), size=st.integers(1, 300))
    def send_many(self, topic: str, count: int, size: int) -> None:
        for _ in range(count):
            self.send(topic, 1, size)

    @rule(steps=st.integers(0, 200))
    def expire(self, steps: int) -> None:
        self.position += steps
        had = {topic for topic, log in self.log.items() if len(log)}
        emptied = self.logs.expire(self.position)
        assert {topic for topic in had if not len(self.log[topic])} <= emptied
        for topic, bounds in TOPICS.items():
            entries, _ = self.log[topic].after(0)
            assert all(entry.position >= self.position - bounds.age for entry in entries)

    @rule(topic=Topic)
    def let_go_of_an_idle_channel(self, topic: str) -> None:
        """As the directory does; when it is used again, its log begins where no gap is left out."""
        if not len(self.log[topic]):
            self.forgotten = max(self.forgotten, self.log[topic].last)
            self.log[topic] = self.logs.log(topic, self.forgotten)

    @invariant()
    def who_comes_back_gets_the_newest_and_knows_whether_it_is_all(self) -> None:
        for topic, sent in self.sent.items():
            for since in {0, START, self.position, *(position for position, _ in sent[-NEWEST:])}:
                entries, whole = self.log[topic].after(since)
                missed = [frame for position, frame in sent if position > since]
                got = [entry.frame for entry in entries]
                assert got == missed[len(missed) - len(got) :], "the newest, in order, each once"
                assert not whole or got == missed, "what is called whole lacks nothing"

    @invariant()
    def each_keeps_its_bounds(self) -> None:
        for topic, bounds in TOPICS.items():
            entries, _ = self.log[topic].after(0)
            assert len(entries) <= bounds.count
            assert sum(len(entry.frame) for entry in entries) <= bounds.bytes

    @invariant()
    def together_they_keep_theirs(self) -> None:
        kept = [entry for log in self.log.values() for entry in log.after(0)[0]]
        assert self.logs.spent == sum(len(entry.frame) + ENTRY_BYTES for entry in kept) <= LIMIT

    @invariant()
    def who_has_everything_is_never_told_of_a_gap(self) -> None:
        for log in self.log.values():
            assert log.after(self.position) == ([], True)


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
