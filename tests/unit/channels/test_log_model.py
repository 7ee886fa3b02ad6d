"""A channel's log against a model that forgets nothing, under any order of events, expiry and questions."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aerostack_realtime.channels.log import MAX_BYTES, MAX_COUNT, Log

START = 1_000


class LogMachine(RuleBasedStateMachine):
    """Everything that was ever sent, in a list beside the log."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log(START)
        self.sent: list[tuple[int, bytes]] = []
        self.position = START

    @rule(steps=st.integers(1, 50), size=st.integers(1, 300))
    def send(self, steps: int, size: int) -> None:
        self.position += steps
        frame = b"%d " % self.position + b"x" * size
        self.log.append(self.position, frame)
        self.sent.append((self.position, frame))

    @rule(count=st.integers(1, MAX_COUNT + 5), size=st.integers(1, 3_000))
    def send_many(self, count: int, size: int) -> None:
        for _ in range(count):
            self.send(1, size)

    @rule(age=st.integers(0, 200))
    def expire(self, age: int) -> None:
        self.log.expire(self.position - age)

    @rule(back=st.integers(0, 3_000))
    def come_back(self, back: int) -> None:
        since = max(0, self.position - back)
        entries, whole = self.log.after(since)
        missed = [frame for position, frame in self.sent if position > since]
        got = [entry.frame for entry in entries]
        assert got == missed[len(missed) - len(got) :], "the newest, in order, each once"
        assert not whole or got == missed, "what is called whole lacks nothing"

    @invariant()
    def keeps_its_bounds(self) -> None:
        entries, _ = self.log.after(0)
        assert len(entries) <= MAX_COUNT
        assert sum(len(entry.frame) for entry in entries) <= MAX_BYTES

    @invariant()
    def who_has_everything_is_never_told_of_a_gap(self) -> None:
        assert self.log.after(self.position) == ([], True)


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
