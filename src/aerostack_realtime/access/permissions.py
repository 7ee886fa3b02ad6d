"""The permissions of one identity, decided once and remembered."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.access.rules import Rules
from aerostack_realtime.access.verdicts import Action, Explanation, Membership, RuleName, Verdict
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import Forbidden

MAX_REMEMBERED: Final = 1000
"""Verdicts kept per connection. Beyond this, all are forgotten and decided again."""
ANSWER_SECONDS: Final = 60.0
"""How long an answer of an `authorize` function is used."""

IsMember = Callable[[Membership], bool]
"""Whether a row is in its table now. Raises Unavailable while that is unknown."""


class Undecided(Exception):
    """The `authorize` function has to be asked first: await `Permissions.ask` with this exception."""

    def __init__(self, topic: str, action: Action, verdict: Verdict) -> None:
        super().__init__(topic, action)
        self.topic = topic
        self.action = action
        self.verdict = verdict


class Denied(Forbidden):
    """The rules deny an action. `rule` names the rule that decided, and `part` its part: the action, its
    `members` or its `authorize`. Both are for the audit log; the message does not contain them."""

    def __init__(self, message: str, rule: RuleName | None, part: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.part = part

    def facts(self) -> dict[str, str]:
        """What the audit log records of it."""
        return {"rule": "none matched"} if self.rule is None else {"rule": str(self.rule), "part": self.part}


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
        self._answers: dict[tuple[str, Action], _Answer] | None = None

    def check(self, topic: str, action: Action) -> Membership | None:
        """The membership that the permission depends on, if any. Raises Denied, Undecided, Unavailable."""
        verdict = self._verdicts.get((topic, action))
        if verdict is None:
            verdict = self._decide(topic, action)
        if not verdict.allowed:
            raise _denied(topic, action, verdict, action)
        if verdict.hook is not None and not self._answered(topic, action, verdict):
            raise _denied(topic, action, verdict, "authorize")
        if verdict.member is not None and not self._is_member(verdict.member):
            raise _denied(topic, action, verdict, "members")
        return verdict.member

    def is_settled(self, topic: str, action: Action) -> bool:
        """Whether the rules alone have decided, so that `check` will have the same result again."""
        verdict = self._verdicts.get((topic, action))
        return verdict is not None and verdict.hook is None and verdict.member is None

    def allows(self, topic: str, action: Action) -> bool:
        """Whether `check` succeeds. Raises Undecided, Unavailable."""
        verdict = self._verdicts.get((topic, action))
        if verdict is None:
            verdict = self._decide(topic, action)
        return (
            verdict.allowed
            and (verdict.hook is None or self._answered(topic, action, verdict))
            and (verdict.member is None or self._is_member(verdict.member))
        )

    async def ask(self, undecided: Undecided) -> None:
        """Ask the `authorize` function; the next `check` uses its answer."""
        hook = undecided.verdict.hook
        assert hook is not None, "only a hook leaves something undecided"
        topic, action = undecided.topic, undecided.action
        allowed = await hook.ask(self.identity, topics.without_project(topic), action)
        if self._answers is None or len(self._answers) >= MAX_REMEMBERED:
            self._answers = {}
        self._answers[topic, action] = _Answer(allowed, self._now() + ANSWER_SECONDS)

    async def settle(self, topic: str, action: Action) -> None:
        """`check`, asking the `authorize` function where it is needed. Raises Denied, Unavailable."""
        try:
            self.check(topic, action)
        except Undecided as undecided:
            await self.ask(undecided)
            self.check(topic, action)

    def scope(self, table: str) -> Scope:
        """The rows and columns of a table that are visible. Raises Forbidden."""
        return self._rules.scope(self.identity, table)

    def explain(self, topic: str, action: Action) -> Explanation:
        """The verdict of the rules with its reason. Memberships and `authorize` are not asked."""
        return self._rules.explain(self.identity, topic, action)

    def _decide(self, topic: str, action: Action) -> Verdict:
        if len(self._verdicts) >= MAX_REMEMBERED:
            self._verdicts.clear()
        verdict = self._verdicts[topic, action] = self._rules.decide(self.identity, topic, action)
        return verdict

    def _answered(self, topic: str, action: Action, verdict: Verdict) -> bool:
        answer = None if self._answers is None else self._answers.get((topic, action))
        if answer is None or answer.until < self._now():
            raise Undecided(topic, action, verdict)
        return answer.allowed


def _denied(topic: str, action: Action, verdict: Verdict, part: str) -> Denied:
    """One message whichever rule denies, so that it discloses nothing about what exists."""
    message = f"The rules of this server do not let you {_DOING[action]} here."
    if action == "publish" and topics.table_of(topic) is not None:
        message = "Row changes come from the database alone: write to the table, or use a topic with a slash."
    return Denied(message, verdict.rule, part)


_DOING: Final[dict[Action, str]] = {
    "subscribe": "subscribe",
    "publish": "publish",
    "presence": "see or share presence",
    "history": "read the history",
    "cancel": "cancel streams",
    "compact": "compact the history",
}
