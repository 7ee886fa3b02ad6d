"""The operators of the console, and whether they may act."""

import pytest

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.operators import OperatorRights, Operators
from aerostack_realtime.access.rules import ChannelRule, Rules, TableRule
from aerostack_realtime.access.verdicts import ACTIONS

ADMIN = Identity("user", "ann", claims={"sub": "ann", "role": "admin"})
SUPPORT = Identity("user", "bob", claims={"sub": "bob", "role": "support"})
OPERATOR = Identity("operator")


@pytest.mark.parametrize(
    ("identity", "rights"),
    [
        (Identity("server", key="1234"), "full"),
        (ADMIN, "full"),
        (SUPPORT, "read"),
        (Identity("user", "carl", claims={"sub": "carl"}), None),
        (Identity("anonymous", "ann"), None),
        (OPERATOR, None),
    ],
)
def test_rights_follow_the_key_or_the_first_true_expression(
    identity: Identity, rights: OperatorRights | None
) -> None:
    operators = Operators("user.claims.role == 'admin'", "user.claims.role in ['support', 'admin']")
    assert operators.rights(identity) == rights


def test_without_expressions_only_a_secret_key_is_an_operator() -> None:
    assert Operators().rights(ADMIN) is None
    assert Operators().rights(Identity("server")) == "full"


def test_an_expression_that_cannot_be_compiled_names_its_setting() -> None:
    with pytest.raises(ValueError, match=r"viewers of \[console\]: line 1"):
        Operators(None, "user.claims.role =")


def test_an_operator_receives_everything_and_sends_nothing() -> None:
    rules = Rules([ChannelRule("a/{b}", "server")], [TableRule("orders", rows={"user_id": "user.id"})])

    def may(topic: str) -> list[str]:
        return [action for action in ACTIONS if rules.decide(OPERATOR, topic, action).allowed]

    for topic in ("a/1/default", "table/orders/default", "view/overview/_console"):
        assert may(topic) == ["subscribe", "history"]
    assert may("table/orders/_console") == []
    assert rules.scope(OPERATOR, "orders").equal == ()


def test_verdicts_are_counted_by_rule() -> None:
    rules = Rules([ChannelRule("a/{b}", "user.id == b")], [TableRule("orders")])
    for topic in ("a/ann/P", "a/ann/P", "a/bob/P", "table/orders/P", "nowhere/1/P"):
        rules.decide(ADMIN, topic, "subscribe")
    rules.explain(ADMIN, "a/ann/P", "subscribe")
    counts = [(each.rule.pattern, each.allowed, each.denied) for each in rules.hits()]
    assert counts == [("a/{b}", 2, 1), ("orders", 1, 0)]
