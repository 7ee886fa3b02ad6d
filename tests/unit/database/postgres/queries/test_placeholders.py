from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.database.postgres.queries.placeholders import translate
from aerostack_realtime.protocol.errors import BadMessage


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("SELECT ?, ?", "SELECT $1, $2"),
        ("a=?AND b=?", "a=$1 AND b=$2"),
        ("LIMIT?", "LIMIT $1"),
        ("x LIKE ?||'%'", "x LIKE $1||'%'"),
        ("a && ?&&b", "a && $1&&b"),
        ("tags <@?", "tags <@$1"),
        ("tags @>?", "tags @>$1"),
        ("v @@?", "v @@$1"),
        ("data ?| array[?]", "data ?| array[$1]"),
        ("data ?& array[?]", "data ?& array[$1]"),
        ("data @? '$.a'", "data @? '$.a'"),
        ("data ?? 'a' AND b = ?", "data ? 'a' AND b = $1"),
        ("data ???", "data ?$1"),
        ("'?' ? 'it''s ?'", "'?' $1 'it''s ?'"),
        (r"'\' ? '", r"'\' $1 '"),
        (r"E'\' ? ' ?", r"E'\' ? ' $1"),
        ("E'a'\n'\\' ? ' ?", "E'a'\n'\\' ? ' $1"),
        (r"name'\' ?", r"name'\' $1"),
        ("U&'?' U&\"?\" ?", "U&'?' U&\"?\" $1"),
        ('"a ""?" ?', '"a ""?" $1'),
        ("$$ ? $$ ?", "$$ ? $$ $1"),
        ("$x$ ? $$ ? $y$ $x$ ?", "$x$ ? $$ ? $y$ $x$ $1"),
        ("a$b$ ? c$b$", "a$b$ $1 c$b$"),
        ("1 -- ?\n ?", "1 -- ?\n $1"),
        ("/* ? /* ? */ ? */ ?", "/* ? /* ? */ ? */ $1"),
        ("1 - ? -- ?", "1 - $1 -- ?"),
        ("'open ?", "'open ?"),
        ("/* open ?", "/* open ?"),
        ("$$ open ?", "$$ open ?"),
        ("é?", "é $1"),
    ],
)
def test_a_question_mark_is_a_placeholder_outside_literals_and_operators(sql: str, translated: str) -> None:
    statement = translate(sql)
    assert statement.sql == translated
    assert statement.placeholders == translated.count("$1") + translated.count("$2")


@pytest.mark.parametrize("sql", ["SELECT $1", "SELECT ?1", "SELECT ?, $2"])
def test_a_numbered_parameter_is_refused(sql: str) -> None:
    with pytest.raises(BadMessage, match="write \\? instead"):
        translate(sql)


@pytest.mark.parametrize(
    ("sql", "several"),
    [
        ("SELECT 1", False),
        ("SELECT 1;", False),
        ("; SELECT 1 ; -- done", False),
        ("SELECT ';' ; /* ; */", False),
        ("SELECT 1; SELECT 2", True),
        ("SELECT 1;'x'", True),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", False),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", False),
    ],
)
def test_several_statements_are_recognized(sql: str, several: bool) -> None:
    assert translate(sql).several == several


def test_the_first_words_are_returned_without_comments() -> None:
    assert translate("/* COMMIT */ -- x\n set Local \"role\" = 'a b'").words == ("SET", "LOCAL", '"')
    assert translate(" -- nothing").words == ()


_NAMES = st.text("abcxyz_$1é", min_size=1, max_size=5).filter(lambda name: name[0] not in "$1")
_INSIDE = st.text("?ab'\"\\$/*- \n;", max_size=8)
_OPAQUE = st.one_of(
    _NAMES.map(lambda name: f" {name} "),
    _INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'"),
    _INSIDE.map(lambda text: " E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    _INSIDE.map(lambda text: '"' + text.replace('"', '""') + '"'),
    _INSIDE.map(lambda text: " $q$" + text.replace("$", "") + "$q$ "),
    _INSIDE.map(lambda text: "--" + text.replace("\n", "") + "\n"),
    _INSIDE.map(lambda text: "/*" + text.replace("/", "").replace("*", "") + "*/"),
    _INSIDE.map(lambda text: "/* /*" + text.replace("/", "").replace("*", "") + "*/ ? */"),
    st.sampled_from([" ?| ", " ?& ", " @? ", " || ", "(", ")", " 1.5 ", ", "]),
)


@given(st.lists(st.tuples(_OPAQUE, st.integers(0, 2)), max_size=12))
def test_only_what_stands_between_the_tokens_is_translated(pieces: list[tuple[str, int]]) -> None:
    sql = "".join(opaque + " \n?" * marks + " ,\n" for opaque, marks in pieces)
    numbers = iter(range(1, 100))
    expected = "".join(
        opaque + "".join(f" \n${next(numbers)}" for _ in range(marks)) + " ,\n" for opaque, marks in pieces
    )
    assert translate(sql).sql == expected


@given(st.text("?'\"\\$/*-;E@|&<> \na1(", max_size=40))
def test_only_placeholders_are_changed(sql: str) -> None:
    try:
        statement = translate(sql)
    except BadMessage:
        return
    kept = iter(statement.sql)
    assert all(letter in kept for letter in sql if letter != "?")
