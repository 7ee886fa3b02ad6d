"""The text of the triggers: what a foreign, older SQLite must be able to run."""

import re

import apsw
import pytest

from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.schema import Key, Table, Term, read_table
from aerostack_realtime.database.sqlite.triggers import triggers

TABLE = Table("t", ("id", "a"), ("rowid",), (Key((Term("rowid", "", "BINARY"),)),), ("id",))


def test_triggers_after_a_change_are_created_last_to_fire_first() -> None:
    names = list(triggers(7, TABLE))
    assert names[-2:] == ["_aerostack_7_update", "_aerostack_7_insert"]


def test_no_trigger_needs_a_newer_sqlite_or_a_function_over_values() -> None:
    text = " ".join(triggers(7, TABLE).values())
    called = set(re.findall(r"(\w+)\(", text))
    assert called <= {"CAST", "julianday", "VALUES", "_aerostack_changes", "_aerostack_replaced"}
    assert "ON CONFLICT" not in text
    assert " OR REPLACE" not in text


def test_no_column_is_named_outside_its_padding() -> None:
    statement = triggers(7, TABLE)["_aerostack_7_insert"].splitlines()[-2]
    assert '(SELECT (SELECT NEW."a") FROM (SELECT NULL AS "a") AS NEW)' in statement
    assert statement.count("NEW.") == statement.count("AS NEW") == 2


@pytest.mark.parametrize("change", ["INSERT INTO t(a, b) VALUES (1, 2)", "UPDATE t SET b = 3", "DELETE FROM t"])
def test_a_row_without_conflicts_needs_no_temporary_table(change: str) -> None:
    """Each costs ten times the rest of the trigger in SQLite 3.40: such a part runs only where it must."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    changelog.lay_out(connection)
    changelog.install(connection, "t")
    for program in re.split(r"TRIGGER ", _listing(connection, change))[1:]:
        unguarded = program.split("Trace", 1)[1] if not program.startswith("_aerostack_1_before") else ""
        assert "OpenEphemeral" not in unguarded, program
    connection.close()


def _listing(connection: apsw.Connection, statement: str) -> str:
    rows = connection.execute(f"EXPLAIN {statement}").fetchall()
    return "\n".join(" ".join(map(str, row)) for row in rows)


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
