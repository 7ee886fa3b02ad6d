"""Explanations of verdicts: the rule that decides, and the part of it."""

import pytest

from aerostack_realtime.access.expressions import conjuncts
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.permissions import Denied, Permissions
from aerostack_realtime.access.rules import ChannelRule, Rules, TableRule
from aerostack_realtime.access.verdicts import RuleName

ANN = Identity("user", "ann", claims={"sub": "ann", "role": "editor"})
RULES = Rules(
    [
        ChannelRule("chat/staff", "user.claims.role == 'editor' && size(topic) > 100", "anyone"),
        ChannelRule("chat/{room}", "authenticated"),
        ChannelRule("room/{room}", members={"table": "members", "room": "{room}", "user": "{user.claims.id}"}),
        ChannelRule("claim/*", "true && user.claims.missing == 'x'"),
    ],
    [TableRule("orders", presence="server")],
)


def test_the_rule_and_the_false_operand_are_named() -> None:
    found = RULES.explain(ANN, "chat/staff/P", "subscribe")
    assert (found.verdict.allowed, found.part, found.false) == (False, "action", "size(topic) > 100")
    assert found.verdict.rule == RuleName("channels", 1, "chat/staff")
    assert str(found.verdict.rule) == "[[channels]] number 1 (chat/staff)"


def test_an_operand_without_a_value_is_named_with_the_reason() -> None:
    found = RULES.explain(ANN, "claim/1/P", "subscribe")
    assert found.false == "user.claims.missing == 'x'"
    assert found.failure


def test_an_allowed_action_has_its_word_and_the_variables() -> None:
    found = RULES.explain(ANN, "chat/1/P", "subscribe")
    assert (found.verdict.allowed, found.source, found.variables) == (True, "authenticated", {"room": "1"})
    assert found.verdict == RULES.decide(ANN, "chat/1/P", "subscribe")


@pytest.mark.parametrize(
    ("topic", "action", "part"),
    [
        ("room/1/P", "subscribe", "members"),
        ("nowhere/1/P", "subscribe", "no_rule"),
        ("table/items/P", "subscribe", "no_rule"),
        ("table/orders/P", "publish", "rows_only"),
        ("table/orders/P", "presence", "action"),
    ],
)
def test_the_part_that_denies_is_named(topic: str, action: str, part: str) -> None:
    found = RULES.explain(ANN, topic, action)  # type: ignore[arg-type]
    assert (found.verdict.allowed, found.part) == (False, part)
    assert RULES.explain(Identity("server"), topic, action).part == "server"  # type: ignore[arg-type]


def test_a_denial_carries_the_rule_for_the_audit_log() -> None:
    permissions = Permissions(ANN, RULES, lambda _: False, lambda: 0.0)
    with pytest.raises(Denied) as denied:
        permissions.check("chat/staff/P", "subscribe")
    assert denied.value.facts() == {"rule": "[[channels]] number 1 (chat/staff)", "part": "subscribe"}
    with pytest.raises(Denied) as denied:
        permissions.check("nowhere/P", "subscribe")
    assert denied.value.facts() == {"rule": "none matched"}
    assert permissions.explain("chat/1/P", "publish").part == "action"


@pytest.mark.parametrize(
    ("source", "operands"),
    [
        ("a && b", ["a", "b"]),
        ("a", ["a"]),
        ('(a && b) && f(\'&&\', "x\\"&&")', ["(a && b)", 'f(\'&&\', "x\\"&&")']),
        ("a && b || c", ["a && b || c"]),
        ("a ? b && c : d", ["a ? b && c : d"]),
        ("a && b // c", ["a && b // c"]),
        ("x[1 && 2] && {'a': 1}", ["x[1 && 2]", "{'a': 1}"]),
    ],
)
def test_operands_end_at_the_outermost_and(source: str, operands: list[str]) -> None:
    assert conjuncts(source) == operands
