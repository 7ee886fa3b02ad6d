"""Rules: who may do what where; the first that matches decides, and what none matches is forbidden."""

from typing import Any

import pytest

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.access.rules import ChannelRule, RuleError, Rules, TableRule
from aerostack_realtime.access.verdicts import ACTIONS, Action, Membership
from aerostack_realtime.protocol.errors import Forbidden

SERVER = Identity("server")
NOBODY = Identity("anonymous", "ann")
ANN = Identity("user", "ann", claims={"sub": "ann", "teams": ["red", "blue"], "role": "editor"})
BOB = Identity("user", "bob", claims={"sub": "bob"})
EVERYONE = (SERVER, ANN, BOB, NOBODY)


def allowed(rules: Rules, identity: Identity, topic: str, action: Action = "subscribe") -> bool:
    return rules.decide(identity, f"{topic}/P", action).allowed


def channels(**rule: Any) -> Rules:
    return Rules([ChannelRule(**rule)])


@pytest.mark.parametrize(
    ("word", "who"), [("anyone", EVERYONE), ("authenticated", (SERVER, ANN, BOB)), ("server", (SERVER,))]
)
@pytest.mark.parametrize("action", ACTIONS)
def test_words_say_who_may(word: str, who: tuple[Identity, ...], action: Action) -> None:
    rules = channels(topic="chat/{room}", **{action: word})
    assert tuple(each for each in EVERYONE if allowed(rules, each, "chat/general", action)) == who


def test_an_action_that_is_not_named_is_for_the_server() -> None:
    rules = channels(topic="chat/{room}", subscribe="anyone")
    assert not allowed(rules, ANN, "chat/general", "publish")
    assert allowed(rules, SERVER, "chat/general", "publish")


def test_without_a_rule_only_the_server_may() -> None:
    for topic in ("chat/general", "table/orders"):
        assert [each for each in EVERYONE if allowed(Rules(), each, topic)] == [SERVER]


def test_the_first_rule_that_matches_decides() -> None:
    rules = Rules(
        [ChannelRule("chat/staff", "user.claims.role == 'editor'"), ChannelRule("chat/{room}", "anyone")]
    )
    assert allowed(rules, ANN, "chat/staff")
    assert not allowed(rules, BOB, "chat/staff")
    assert allowed(rules, BOB, "chat/general")


def test_an_expression_knows_the_topic_and_who_it_is() -> None:
    rules = channels(topic="notifications/{user_id}", subscribe="user.id == user_id && topic.size() > 0")
    assert allowed(rules, ANN, "notifications/ann")
    assert not allowed(rules, BOB, "notifications/ann")


def test_a_claimed_id_is_not_an_id() -> None:
    assert not allowed(
        channels(topic="notifications/{user_id}", subscribe="user.id == user_id"), NOBODY, "notifications/ann"
    )


def test_an_expression_that_fails_denies() -> None:
    rules = channels(topic="a/b", subscribe="user.claims.role == 'editor'", publish="user.claims.role != 'editor'")
    assert not allowed(rules, BOB, "a/b")
    assert not allowed(rules, BOB, "a/b", "publish")


def test_members_stand_for_the_actions_that_are_not_named() -> None:
    rules = channels(
        topic="rooms/{room}",
        publish="user.claims.role == 'editor'",
        members={"table": "room_members", "room_id": "{room}", "user_id": "{user.id}"},
    )
    membership = Membership("room_members", ("room_id", "user_id"), ("7", "ann"))
    for action in ACTIONS:
        if action != "compact":
            assert rules.decide(ANN, "rooms/7/P", action).member == membership
    assert not allowed(rules, ANN, "rooms/7", "compact")
    assert allowed(rules, BOB, "rooms/7")
    assert not allowed(rules, BOB, "rooms/7", "publish")
    assert not allowed(rules, NOBODY, "rooms/7")
    assert rules.decide(SERVER, "rooms/7/P", "subscribe").member is None
    assert rules.memberships == {("room_members", ("room_id", "user_id"))}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"topic": "a//b"}, "number 1.*pattern"),
        ({"topic": "a/{b}", "subscribe": "everyone"}, "subscribe: 'everyone' is none of anyone"),
        ({"topic": "a/{b}", "publish": "user.id == c"}, "publish: line 1, column 12: .*'c'"),
        ({"topic": "a/{b}", "members": {"table": "m"}}, "members: write"),
        ({"topic": "a/{b}", "members": {"table": "m", "x": "{c}"}}, "members: line 1, column 1: .*'c'"),
        ({"topic": "a/{b}", "members": {"table": "m", "x": "x{b}"}}, "members: .*braces"),
        ({"topic": "a/{b}", "authorize": "nowhere"}, "module:function"),
        ({"topic": "a/{b}", "authorize": "nowhere:at_all"}, "cannot be loaded"),
        ({"topic": "a/{b}", "authorize": "os:sep"}, "is not a function"),
        ({"topic": "{type}/b", "subscribe": "type == 'x'"}, "'type' is a word"),
    ],
)
def test_a_mistake_in_a_rule_is_named_when_it_is_read(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(RuleError, match=said):
        channels(**rule)


def test_a_table_needs_a_rule_and_takes_no_publishes() -> None:
    rules = Rules(tables=[TableRule("orders"), TableRule("news", "anyone", "server")])
    assert allowed(rules, ANN, "table/orders")
    assert not allowed(rules, NOBODY, "table/orders")
    assert allowed(rules, NOBODY, "table/news")
    assert not allowed(rules, ANN, "table/news", "presence")
    assert not allowed(rules, ANN, "table/users")
    assert not allowed(rules, ANN, "table/orders", "publish")


def scope(identity: Identity, **rule: Any) -> Any:
    return Rules(tables=[TableRule("orders", **rule)]).scope(identity, "orders")


def test_equality_rules_are_values_for_the_index() -> None:
    assert scope(ANN, rows={"user_id": "user.id"}).equal == (("user_id", "ann"),)
    assert scope(ANN, rows={"team": "user.claims.teams"}).equal == (("team", ("red", "blue")),)
    assert scope(SERVER, rows={"user_id": "user.id"}).equal == ()


@pytest.mark.parametrize("wanted", ["user.claims.nope", "null", "user.claims", "[user.claims]"])
def test_a_rule_without_a_value_matches_no_rows(wanted: str) -> None:
    with pytest.raises(Forbidden):
        scope(ANN, rows={"user_id": wanted})
    with pytest.raises(Forbidden):
        scope(NOBODY, rows={"user_id": "user.id"})


def test_a_row_test_is_one_for_all_to_whom_it_is_the_same() -> None:
    rules = Rules(tables=[TableRule("orders", rows="row.team in user.claims.teams")])
    carl = Identity("user", "carl", claims={"sub": "carl", "teams": ["red", "blue"]})
    first, second = (rules.scope(each, "orders").test for each in (ANN, carl))
    assert first is second
    assert first is not None
    assert first({"team": "red"})
    assert not first({"team": "green"})


def test_a_row_test_that_fails_says_so_without_a_value() -> None:
    test = scope(ANN, rows="row.total > 10").test
    with pytest.raises(RuleFailed) as failed:
        test({"total": "a secret"})
    assert "secret" not in failed.value.message


def test_a_table_rule_that_means_nothing_is_named() -> None:
    for rule, said in (
        ({"rows": "row.x == nope"}, "rows: line 1, column 10"),
        ({"rows": {"a": "userid"}}, "rows: .*userid"),
        ({"columns": ()}, "columns"),
        ({"subscribe": "nobody"}, "subscribe"),
    ):
        with pytest.raises(RuleError, match=said):
            scope(ANN, **rule)
    with pytest.raises(RuleError, match="two rules"):
        Rules(tables=[TableRule("orders"), TableRule("orders")])
