"""What one identity may do, decided once and remembered."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.access.rules import Action, Membership, Rules, Verdict
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import Forbidden

MAX_REMEMBERED: Final = 1000
"""Verdicts kept per connection; beyond, they are forgotten together and decided anew."""
ANSWER_SECONDS: Final = 60.0
"""How long an answer of an `authorize` function holds."""

IsMember = Callable[[Membership], bool]
"""Whether a row is in its table now. Raises Unavailable while that is not known."""


class Undecided(Exception):
    """The answer has to be asked of the user's own function first: await `Permissions.ask` with this."""

    def __init__(self, topic: str, action: Action, verdict: Verdict) -> None:
        super().__init__(topic, action)
        self.topic = topic
        self.action = action
        self.verdict = verdict


class _Answer(Struct):
    allowed: bool
    until: float


class Permissions:
    """`now` is in seconds. Topics are canonical."""

    __slots__ = ("_answers", "_is_member", "_now", "_rules", "_verdicts", "identity")

    def __init__(self, identity: Identity, rules: Rules, is_member: IsMember, now: Callable[[], float]) -> None:
        self.identity = identity
        self._rules = rules
        self._is_member = is_member
        self._now = now
        self._verdicts: dict[tuple[str, Action], Verdict] = {}
        self._answers: dict[tuple[str, Action], _Answer] = {}

    def check(self, topic: str, action: Action) -> Membership | None:
        """The membership that the permission hangs on, if any. Raises Forbidden, Undecided, Unavailable."""
        verdict = self._verdicts.get((topic, action))
        if verdict is None:
            verdict = self._decide(topic, action)
        if not verdict.allowed:
            raise _forbidden(topic, action)
        if verdict.hook is not None and not self._answered(topic, action, verdict):
            raise _forbidden(topic, action)
        if verdict.member is not None and not self._is_member(verdict.member):
            raise _forbidden(topic, action)
        return verdict.member

    def allows(self, topic: str, action: Action) -> bool:
        """The same as a yes or no. Raises Undecided, Unavailable."""
        try:
            self.check(topic, action)
        except Forbidden:
            return False
        return True

    async def ask(self, undecided: Undecided) -> None:
        """Ask the user's function; its answer is there for the next `check`."""
        hook = undecided.verdict.hook
        assert hook is not None, "only a hook leaves something undecided"
        topic, action = undecided.topic, undecided.action
        allowed = await hook.ask(self.identity, topic.rpartition("/")[0], action)
        if len(self._answers) >= MAX_REMEMBERED:
            self._answers.clear()
        self._answers[topic, action] = _Answer(allowed, self._now() + ANSWER_SECONDS)

    async def settle(self, topic: str, action: Action) -> None:
        """`check`, waiting for what is undecided. Raises Forbidden, Unavailable."""
        try:
            self.check(topic, action)
        except Undecided as undecided:
            await self.ask(undecided)
            self.check(topic, action)

    def scope(self, table: str) -> Scope:
        """What is seen of a table. Raises Forbidden."""
        return self._rules.scope(self.identity, table)

    def _decide(self, topic: str, action: Action) -> Verdict:
        if len(self._verdicts) >= MAX_REMEMBERED:
            self._verdicts.clear()
        verdict = self._verdicts[topic, action] = self._rules.decide(self.identity, topic, action)
        return verdict

    def _answered(self, topic: str, action: Action, verdict: Verdict) -> bool:
        answer = self._answers.get((topic, action))
        if answer is None or answer.until < self._now():
            raise Undecided(topic, action, verdict)
        return answer.allowed


def _forbidden(topic: str, action: Action) -> Forbidden:
    """One message for whatever rule said no: it tells nothing of what is there."""
    if action == "publish" and topics.table_of(topic) is not None:
        return Forbidden(
            "Row changes come from the database alone: write to the table, or use a topic with a slash."
        )
    return Forbidden(f"The rules of this server do not let you {_DOING[action]} here.")


_DOING: Final[dict[Action, str]] = {
    "subscribe": "subscribe",
    "publish": "publish",
    "presence": "see or share presence",
    "history": "read the history",
}
