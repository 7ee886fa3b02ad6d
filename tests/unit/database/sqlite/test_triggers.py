"""The text of the triggers: what a foreign, older SQLite must be able to run."""

import re

import apsw
import pytest

from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.schema import Key, Table, Term, read_table
from aerostack_realtime.database.sqlite.triggers import triggers

TABLE = Table("t", ("id", "a"), ("rowid",), (Key((Term("rowid", "", "BINARY"),)),))


def test_the_triggers_after_a_change_are_made_last_so_that_they_fire_first() -> None:
    names = list(triggers(7, TABLE))
    assert names[-2:] == ["_aerostack_7_update", "_aerostack_7_insert"]


def test_no_trigger_needs_a_newer_sqlite_or_a_function_over_values() -> None:
    text = " ".join(triggers(7, TABLE).values())
    assert set(re.findall(r"(\w+)\(", text)) <= {"CAST", "julianday", "_aerostack_changes", "_aerostack_replaced"}
    assert "ON CONFLICT" not in text
    assert " OR REPLACE" not in text


def test_no_column_is_named_outside_its_padding() -> None:
    statement = triggers(7, TABLE)["_aerostack_7_insert"].splitlines()[-2]
    assert '(SELECT NEW."a")' in statement
    assert '(SELECT NULL AS "id", NULL AS "a") AS NEW' in statement


@pytest.mark.parametrize("name", ["t", 'odd "name"'])
def test_triggers_stand_in_the_schema_as_they_were_made(name: str) -> None:
    """`in_order` compares texts: SQLite must keep them."""
    connection = apsw.Connection(":memory:")
    connection.execute(f'CREATE TABLE "{name.replace(chr(34), chr(34) * 2)}"(a UNIQUE, b)')
    changelog.lay_out(connection)
    watch = changelog.install(connection, name)
    assert read_table(connection, name) is not None
    assert changelog.in_order(connection, watch)
    assert changelog.watched(connection) == {name: watch}
    connection.close()
