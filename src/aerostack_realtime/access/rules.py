"""Rules: identity × topic × action → allowed or not, and which rows of a table are visible.

The first rule whose pattern matches a topic decides. Where no rule matches, only the server is allowed.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct

from aerostack_realtime.access import hooks
from aerostack_realtime.access.expressions import (
    USER_CLAIMS,
    USER_ID,
    Expression,
    ExpressionError,
    Failed,
    false_operand,
    used,
)
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.access.rows import EVERYTHING, Rows, Scope
from aerostack_realtime.access.verdicts import (
    ACTIONS,
    ALLOWED,
    DENIED,
    Action,
    Explanation,
    Membership,
    RuleName,
    Verdict,
)
from aerostack_realtime.counters import NO_RULE
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import Forbidden

_WRITING: Final = ("publish", "cancel", "compact")
"""Actions that no rule allows on a table: its row changes come from the database alone."""
WORDS: Final = ("anyone", "authenticated", "server")
_NAMES: Final = ("topic", "action")


class RuleError(ValueError):
    """A rule that cannot be used. The message names the rule, the place in it, and the reason."""


class ChannelRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What may be done on the topics of a pattern: `[[channels]]` in aerostack.toml.

    An action that is not named is for the server alone or, with `members`, for the members.
    """

    topic: str
    """The pattern of topics, such as `chat/{room}`; `*` is one segment, a final `**` all remaining ones."""
    subscribe: str | None = None
    """Who receives events: `anyone`, `authenticated`, `server` or an expression."""
    publish: str | None = None
    """Who sends events."""
    presence: str | None = None
    """Who sees who is present, and is seen."""
    history: str | None = None
    """Who reads stored messages."""
    cancel: str | None = None
    """Who stops streams; if not set, as `publish`."""
    compact: str | None = None
    """Who replaces stored messages by one that holds their state; if not set, the server alone."""
    members: dict[str, str] | None = None
    """The table whose rows are the members of the topic, and its columns."""
    authorize: str | None = None
    """A Python function that decides: `module:function`."""


class TableRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Who sees which rows and columns of a table: `[[tables]]` in aerostack.toml."""

    name: str
    """The name of the table."""
    subscribe: str = "authenticated"
    """Who receives row changes: `anyone`, `authenticated`, `server` or an expression."""
    presence: str | None = None
    """Who sees who is present on the table; if not set, as `subscribe`."""
    rows: dict[str, str] | str | None = None
    """Which rows a user receives; if not set, all."""
    columns: tuple[str, ...] | None = None
    """Which columns a user receives; if not set, all."""


class Hits(Struct):
    """How often a rule has decided since it was read, and the settings it was written with. A connection remembers
    a verdict, so this counts connections and topics, not events."""

    rule: RuleName
    written: ChannelRule | TableRule
    allowed: int = 0
    denied: int = 0

    def count(self, verdict: Verdict) -> Verdict:
        if verdict.allowed:
            self.allowed += 1
        else:
            self.denied += 1
        return verdict


class Rules:
    """All rules, compiled. Raises RuleError."""

    def __init__(
        self,
        channels: Sequence[ChannelRule] = (),
        tables: Sequence[TableRule] = (),
        before: "Rules | None" = None,
    ) -> None:
        self._channels = [_Channel(rule, number) for number, rule in enumerate(channels, 1)]
        self._tables = {rule.name: _Table(rule, number) for number, rule in enumerate(tables, 1)}
        if before is not None:
            for name, table in self._tables.items():
                table.keep_rows(before._tables.get(name))
        if len(self._tables) != len(tables):
            raise RuleError("[[tables]]: two rules are for the same table; keep one of them")
        self._of_topic = lru_cache(topics.REMEMBERED)(self._match)
        self.memberships: frozenset[tuple[str, tuple[str, ...]]] = frozenset(
            (channel.members.table, channel.members.columns) for channel in self._channels if channel.members
        )

    def decide(self, identity: Identity, topic: str, action: Action) -> Verdict:
        """Whether `identity` may do `action` on a canonical topic."""
        if identity.kind == "server":
            return ALLOWED
        if identity.kind == "operator":
            return ALLOWED if _operator_may(topic, action) else DENIED
        if (table := topics.table_of(topic)) is not None:
            rule = self._of_table(table)
            return DENIED if rule is None else rule.hits.count(rule.decide(identity, bindings(identity), action))
        matched = self._of_topic(topic)
        if matched is None:
            return DENIED
        channel, variables = matched
        return channel.hits.count(channel.decide(identity, topic, variables, action))

    def explain(self, identity: Identity, topic: str, action: Action) -> Explanation:
        """The same verdict with its reason. It evaluates expressions again, so it is for operators, not for
        the hot path."""
        if identity.kind in ("server", "operator"):
            return Explanation(self.decide(identity, topic, action), "server")
        if (table := topics.table_of(topic)) is not None:
            rule = self._of_table(table)
            if rule is None:
                return Explanation(DENIED, "no_rule")
            return rule.explain(identity, bindings(identity), action)
        matched = self._of_topic(topic)
        if matched is None:
            return Explanation(DENIED, "no_rule")
        channel, variables = matched
        return channel.explain(identity, topic, variables, action)

    def rule_of(self, topic: str) -> str:
        """The pattern or table of the rule that decides about a canonical topic; `none` where none does. The
        console's own topics are counted by the name of its project."""
        if topics.is_console(topic):
            return topics.CONSOLE
        if (table := topics.table_of(topic)) is not None:
            return table if table in self._tables else "*" if "*" in self._tables else NO_RULE
        matched = self._of_topic(topic)
        return NO_RULE if matched is None else matched[0].pattern.written

    def hits(self) -> list["Hits"]:
        """How often each rule has decided, in the order of the settings."""
        return [each.hits for each in self._channels] + [each.hits for each in self._tables.values()]

    def _match(self, topic: str) -> "tuple[_Channel, dict[str, str]] | None":
        """The first rule whose pattern matches a custom channel's topic, and what its variables stand for."""
        written = topics.without_project(topic)
        for channel in self._channels:
            variables = channel.pattern.match(written)
            if variables is not None:
                return channel, variables
        return None

    def _of_table(self, table: str) -> "_Table | None":
        return self._tables.get(table) or self._tables.get("*")

    def scope(self, identity: Identity, table: str) -> Scope:
        """The rows and columns that `identity` sees of a table. Raises Forbidden."""
        if identity.kind in ("server", "operator"):
            return EVERYTHING
        rule = self._of_table(table)
        if rule is None:
            raise Forbidden(f"This server has no rule for the table {table!r}.")
        return rule.rows.scope(bindings(identity))


def _operator_may(topic: str, action: Action) -> bool:
    """An operator receives everything and sends nothing; the console's own project has no tables."""
    is_table = topics.table_of(topic) is not None
    return action in ("subscribe", "history") and not (is_table and topics.is_console(topic))


def broken_rules(
    channels: Sequence[ChannelRule], tables: Sequence[TableRule]
) -> list[tuple[Literal["channels", "tables"], int, str]]:
    """Every rule that cannot be compiled: its section, its index there, and why."""
    found: list[tuple[Literal["channels", "tables"], int, str]] = []
    for index, channel in enumerate(channels):
        try:
            _Channel(channel, index + 1)
        except RuleError as error:
            found.append(("channels", index, str(error)))
    names: set[str] = set()
    for index, table in enumerate(tables):
        try:
            _Table(table, index + 1)
        except RuleError as error:
            found.append(("tables", index, str(error)))
        if table.name in names:
            found.append(("tables", index, f"[[tables]]: two rules are for {table.name!r}; keep one of them"))
        names.add(table.name)
    return found


def bindings(identity: Identity) -> dict[str, Any]:
    """The variables that expressions have for an identity: its id only where a token proves it."""
    if identity.kind != "user":
        return {USER_CLAIMS: {}}
    return {USER_ID: identity.user_id, USER_CLAIMS: identity.claims}


def _known(identity: Identity, topic: str, variables: Mapping[str, str], action: Action) -> dict[str, Any]:
    """What the expressions of a channel's rule can name."""
    return {**bindings(identity), **variables, "topic": topics.without_project(topic), "action": action}


class _Word:
    """A word or an expression of a rule."""

    def __init__(self, written: str, names: Sequence[str], where: str) -> None:
        self.written = written
        self.word = written if written in WORDS else None
        self._names = names
        if self.word is None and written.strip().isidentifier():
            raise RuleError(f"{where}: {written!r} is none of {', '.join(WORDS)}, and not an expression")
        try:
            self._expression = None if self.word else Expression(written, names)
        except ExpressionError as error:
            raise RuleError(f"{where}: {error}") from None

    def admits(self, identity: Identity) -> bool:
        """Whether the word alone allows it."""
        return self.word == "anyone" or (self.word == "authenticated" and identity.kind == "user")

    def allows(self, identity: Identity, known: Mapping[str, Any]) -> bool:
        if self._expression is not None:
            try:
                return self._expression.holds(known)
            except Failed:
                return False
        return self.admits(identity)

    def explain(self, verdict: Verdict, known: Mapping[str, Any], variables: dict[str, str]) -> Explanation:
        """A verdict for which this word or expression is the reason."""
        operand: str | None = None
        failure: str | None = None
        if self._expression is not None and not verdict.allowed:
            operand, failure = false_operand(self.written, self._names, known)
        seen = {} if operand is None else used(operand, known)
        return Explanation(verdict, "action", self.written, operand, failure, variables, seen)


class _Members:
    """`members = {table = "room_members", room_id = "{room}", user_id = "{user.id}"}`"""

    def __init__(self, written: Mapping[str, str], names: Sequence[str], where: str) -> None:
        self.table = written.get("table", "")
        self.columns = tuple(sorted(written.keys() - {"table"}))
        if not self.table or not self.columns:
            raise RuleError(
                f'{where}: write members = {{table = "…", room_id = "{{room}}", user_id = "{{user.id}}"}}'
            )
        try:
            self._values = [_template(written[column], names) for column in self.columns]
        except ExpressionError as error:
            raise RuleError(f"{where}: {error}") from None

    def of(self, known: Mapping[str, Any]) -> Membership | None:
        """The row that the table must contain; None when a value for it is missing."""
        try:
            values = [each(known) if isinstance(each, Expression) else each for each in self._values]
        except Failed:
            return None
        found = [as_text(value) for value in values]
        if None in found:
            return None
        return Membership(self.table, self.columns, tuple(each for each in found if each is not None))


class _Channel:
    def __init__(self, rule: ChannelRule, number: int) -> None:
        where = f'[[channels]] number {number} (topic = "{rule.topic}")'
        try:
            self.pattern = Pattern(rule.topic)
            self.hook = hooks.load(rule.authorize) if rule.authorize is not None else None
        except ValueError as error:
            raise RuleError(f"{where}: {error}") from None
        names = (*self.pattern.variables, *_NAMES)
        self.members = None if rule.members is None else _Members(rule.members, names, f"{where}, members")
        default = "server" if self.members is None and self.hook is None else "anyone"
        self._words: dict[Action, _Word] = {
            action: _Word(_word_of(rule, action) or default, names, f"{where}, {action}") for action in ACTIONS
        }
        self._name = RuleName("channels", number, rule.topic)
        self.hits = Hits(self._name, rule)
        self._allowed = Verdict(True, None, self.hook, self._name)
        self._denied = Verdict(False, rule=self._name)

    def decide(self, identity: Identity, topic: str, variables: Mapping[str, str], action: Action) -> Verdict:
        word = self._words[action]
        if word.word is not None and self.members is None:
            return self._allowed if word.admits(identity) else self._denied
        known = _known(identity, topic, variables, action)
        if not word.allows(identity, known):
            return self._denied
        if self.members is None:
            return self._allowed
        member = self.members.of(known)
        return self._denied if member is None else Verdict(True, member, self.hook, self._name)

    def explain(self, identity: Identity, topic: str, variables: dict[str, str], action: Action) -> Explanation:
        verdict = self.decide(identity, topic, variables, action)
        word, known = self._words[action], _known(identity, topic, variables, action)
        if not verdict.allowed and word.allows(identity, known):
            return Explanation(verdict, "members", variables=variables)
        return word.explain(verdict, known, variables)


class _Table:
    def __init__(self, rule: TableRule, number: int) -> None:
        where = f'[[tables]] name = "{rule.name}"'
        self._subscribe = _Word(rule.subscribe, _NAMES, f"{where}, subscribe")
        self._presence = _Word(rule.presence or rule.subscribe, _NAMES, f"{where}, presence")
        if rule.columns is not None and not rule.columns:
            raise RuleError(f"{where}, columns: name at least one, or leave it out to show all")
        try:
            self.rows = Rows(rule.name, rule.rows, rule.columns)
        except ExpressionError as error:
            raise RuleError(f"{where}, rows: {error}") from None
        self._rows_as_written = rule.rows, rule.columns
        name = RuleName("tables", number, rule.name)
        self.hits = Hits(name, rule)
        self._allowed, self._denied = Verdict(True, rule=name), Verdict(False, rule=name)

    def keep_rows(self, before: "_Table | None") -> None:
        """Use the compiled row rule of `before` if it is written the same."""
        if before is not None and before._rows_as_written == self._rows_as_written:
            self.rows = before.rows

    def decide(self, identity: Identity, user: Mapping[str, Any], action: Action) -> Verdict:
        if action in _WRITING:
            return self._denied
        known = {**user, "topic": "", "action": action}
        return self._allowed if self._word(action).allows(identity, known) else self._denied

    def explain(self, identity: Identity, user: Mapping[str, Any], action: Action) -> Explanation:
        verdict = self.decide(identity, user, action)
        if action in _WRITING:
            return Explanation(verdict, "rows_only")
        return self._word(action).explain(verdict, {**user, "topic": "", "action": action}, {})

    def _word(self, action: Action) -> _Word:
        return self._presence if action == "presence" else self._subscribe


def _word_of(rule: ChannelRule, action: Action) -> str | None:
    """What a rule says of an action. Unless it says otherwise, `cancel` is as `publish`, and `compact` is for the
    server, also where there are members."""
    written: str | None = getattr(rule, action)
    if action == "compact":
        return written or "server"
    return rule.publish if action == "cancel" and written is None else written


def as_text(value: object) -> str | None:
    """A value as memberships compare it, so that a room in a topic meets a number in a column."""
    if value is None or isinstance(value, list | dict | bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _template(written: str, names: Sequence[str]) -> Expression | str:
    """`{expression}` or plain text."""
    if written.startswith("{") and written.endswith("}"):
        return Expression(written[1:-1], names, boolean=False)
    if "{" in written or "}" in written:
        raise ExpressionError(f"{written!r} is neither a word nor one expression in braces")
    return written
