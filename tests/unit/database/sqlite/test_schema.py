"""Reading a CREATE INDEX statement."""

import pytest

from aerostack_realtime.database.sqlite.schema import index_terms, quote


@pytest.mark.parametrize(
    ("sql", "terms", "condition"),
    [
        ("CREATE UNIQUE INDEX i ON t(a)", ["a"], None),
        ("CREATE UNIQUE INDEX i ON t(lower(a), b)", ["lower(a)", "b"], None),
        ("CREATE UNIQUE INDEX i ON t(coalesce(a, (b)) DESC , c asc)", ["coalesce(a, (b))", "c"], None),
        ("CREATE UNIQUE INDEX i ON t(a) WHERE b > ')' ", ["a"], "b > ')'"),
        ('CREATE UNIQUE INDEX "i(" ON "t,("("a)", [b,], `c(`)', ['"a)"', "[b,]", "`c(`"], None),
        (
            "CREATE UNIQUE INDEX i ON t(a -- )\n, b /* , */)\n-- note\nwhere a IS NOT NULL",
            ["a", "b"],
            "a IS NOT NULL",
        ),
        ("CREATE UNIQUE INDEX i ON t(a || 'it''s, (')", ["a || 'it''s, ('"], None),
    ],
)
def test_an_index_statement_is_taken_apart(sql: str, terms: list[str], condition: str | None) -> None:
    found, where = index_terms(sql)
    assert [term.strip() for term in found] == terms
    assert where == condition


def test_a_quoted_name_is_one_identifier() -> None:
    assert quote('say "hi"') == '"say ""hi"""'
