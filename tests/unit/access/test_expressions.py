"""Expressions: compiled strictly, bounded, and grouped by the claims of a user that they can see."""

import time
from typing import Any

import pytest

from aerostack_realtime.access.expressions import Expression, ExpressionError, Failed

ANN: dict[str, Any] = {"user.id": "ann", "user.claims": {"role": "admin", "teams": ["a", "b"], "n": 1}}
NOBODY: dict[str, Any] = {"user.claims": {}}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("user.id == 'ann'", True),
        ("user.claims.role == 'admin' && 'a' in user.claims.teams", True),
        ("has(user.claims.nope)", False),
        ("has(user.claims.nope) && user.claims.nope == 1", False),
        ("room == 'x' || user.id == room", False),
        ("room.startsWith('y')", True),
        ("user.claims.teams.exists(t, t == 'b')", True),
    ],
)
def test_an_expression_is_true_or_false(source: str, shown: bool) -> None:
    assert Expression(source, ["room"]).holds({**ANN, "room": "y1"}) is shown


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("user.id == nope", "line 1, column 12: .*nope"),
        ("true &&\n  user.idd == 'x'", "line 2, column 7: .*user.idd"),
        ("user.id ==", "line 1, column 11: Syntax error"),
        ("nope(user.id)", "line 1, column 5: .*nope"),
        ("row.id == 1", "row"),
        ("user == 'ann'", "user"),
        ("user.id + 1 == 2", "column 9"),
        ("user.id", "true or false; this one is a STRING"),
        ("", "line 1, column 1"),
        ("(" * 200 + "true" + ")" * 200, "nested too deeply"),
        ("true || " * 400 + "true", "at most 2000 characters"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_its_place(source: str, said: str) -> None:
    with pytest.raises(ExpressionError, match=said):
        Expression(source, ["room"])


@pytest.mark.parametrize(
    "source", ["user.claims.nope == 1", "user.claims.role > 1", "1 / 0 == 1", "user.claims.role", "user.claims.n"]
)
def test_an_expression_without_an_answer_fails(source: str) -> None:
    with pytest.raises(Failed):
        Expression(source).holds(ANN)


def test_an_unproven_user_has_no_id_to_compare() -> None:
    """Not even null or an empty string, which a row might hold."""
    for source in ("user.id == ''", "user.id != 'ann'", "!(user.id == 'ann')"):
        with pytest.raises(Failed):
            Expression(source).holds(NOBODY)
    assert Expression("room == 'lobby' || user.id == room", ["room"]).holds({**NOBODY, "room": "lobby"})


@pytest.mark.parametrize("claims", [{"a": 2**80}, {"a": object()}, {"a\0": "\ud800"}, {1: 2}])
def test_claims_that_are_no_values_fail_and_nothing_else(claims: Any) -> None:
    with pytest.raises(Failed):
        Expression("user.claims.size() > 0 && user.claims.a == 1").holds({"user.claims": claims})


def test_an_expression_cannot_run_away() -> None:
    """Sixty-four nested steps of ten are 10^6 at most here; the budget ends it in milliseconds."""
    ten = str(list(range(10)))
    source = f"{ten}.all(a, {ten}.all(b, {ten}.all(c, {ten}.all(d, {ten}.all(e, {ten}.all(f, a + b + c >= 0))))))"
    begun = time.process_time()
    with pytest.raises(Failed):
        Expression(source).holds(ANN)
    assert time.process_time() - begun < 1


def test_a_regular_expression_cannot_run_away() -> None:
    begun = time.process_time()
    assert not Expression("room.matches('^(a+)+$')", ["room"]).holds({**ANN, "room": "a" * 5000 + "!"})
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("source", "alike"),
    [
        ("row.public == true", True),
        ("row.team in user.claims.teams", True),
        ("row.owner == user.id", False),
        ("row.n == user.claims.n", False),
        ("row.n == user.claims['n']", False),
        ("row.n == user.claims.size()", False),
        ("row.n == user . claims . n", False),
        ("user.claims.exists(c, c == row.x)", False),
        ("row.n == user.// c\nclaims.n", False),
    ],
)
def test_users_are_grouped_by_what_the_expression_sees_of_them(source: str, alike: bool) -> None:
    bob = {"user.id": "bob", "user.claims": {**ANN["user.claims"], "n": 2}}
    expression = Expression(source, row=True)
    assert (expression.group(ANN) == expression.group(bob)) is alike


def test_a_claim_that_is_missing_is_not_one_that_is_null() -> None:
    expression = Expression("!has(user.claims.a)")
    assert expression.group({"user.claims": {}}) != expression.group({"user.claims": {"a": None}})
