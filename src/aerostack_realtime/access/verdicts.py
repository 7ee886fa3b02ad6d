"""What rules answer: verdicts, and why they are as they are."""

from typing import Any, Final, Literal

from msgspec import Struct

from aerostack_realtime.access.hooks import Hook

Action = Literal["subscribe", "publish", "presence", "history", "cancel", "compact"]


ACTIONS: Final[tuple[Action, ...]] = ("subscribe", "publish", "presence", "history", "cancel", "compact")


class Membership(Struct, frozen=True):
    """A row that a table must contain: these columns with these values, as text."""

    table: str
    columns: tuple[str, ...]
    values: tuple[str, ...]


class RuleName(Struct, frozen=True):
    """A rule as an operator finds it: its section, its position there (from 1), its pattern or table."""

    section: Literal["channels", "tables"]
    number: int
    pattern: str

    def __str__(self) -> str:
        return f"[[{self.section}]] number {self.number} ({self.pattern})"


class Verdict(Struct, frozen=True):
    """`allowed`, provided that `member` is in its table and `hook` agrees, where they are given. `rule` is the
    rule that decided; None for the server, to which no rule applies, and where no rule matched."""

    allowed: bool
    member: Membership | None = None
    hook: Hook | None = None
    rule: RuleName | None = None


Part = Literal["server", "no_rule", "action", "members", "rows_only"]


class Explanation(Struct, frozen=True):
    """Why a verdict is as it is.

    `part` is the part of the rule that decided: `action` for the word or expression of the action, `members`
    for a membership without a value for one of its columns, `rows_only` for a publish on a table. `source` is
    the word or expression as written. `false` is the first operand of `&&` that is not true, and `failure` why
    it has no value. `variables` is what the pattern's variables stand for, and `seen` the values that `false`
    names.
    """

    verdict: Verdict
    part: Part
    source: str | None = None
    false: str | None = None
    failure: str | None = None
    variables: dict[str, str] = {}
    seen: dict[str, Any] = {}


ALLOWED: Final = Verdict(True)


DENIED: Final = Verdict(False)
