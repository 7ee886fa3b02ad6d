"""What SQLite can do to a table, each as a foreign writer (the `sqlite3` command) does it."""

from typing import Any

import pytest

from aerostack_realtime.database.sqlite import SqliteDatabase
from aerostack_realtime.protocol.errors import NotFound
from tests.contract.conftest import Recorder, SqliteBackend

END = "INSERT INTO the_end VALUES(1)"


class Bench:
    """A watched table, a foreign writer, and what arrived of what it wrote."""

    def __init__(self, backend: SqliteBackend, database: SqliteDatabase, recorder: Recorder) -> None:
        self.backend = backend
        self.database = database
        self.recorder = recorder

    async def watch(self, *schema: str, table: str = "t") -> None:
        self.backend.write("CREATE TABLE the_end(a)", *schema)
        await self.database.changes.watch(table)
        await self.database.changes.watch("the_end")

    async def write(self, *statements: str) -> list[tuple[Any, ...]]:
        """What the statements changed, as (operation, new row, old row)."""
        self.backend.write(*statements, END)
        await self.recorder.until(
            lambda: bool(self.recorder.changes) and self.recorder.changes[-1].table == "the_end"
        )
        self.recorder.changes.pop()
        return self.recorder.seen()


@pytest.fixture
def bench(backend: SqliteBackend, database: SqliteDatabase, recorder: Recorder) -> Bench:
    return Bench(backend, database, recorder)


def inserted(*row: Any) -> tuple[Any, ...]:
    return ("INSERT", row, None)


def deleted(*row: Any) -> tuple[Any, ...]:
    return ("DELETE", row, row)


def updated(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    return ("UPDATE", new, old)


RECURSION = pytest.mark.parametrize("recursive", ["PRAGMA recursive_triggers=0", "PRAGMA recursive_triggers=1"])


@RECURSION
async def test_a_replaced_row_is_a_delete_before_the_insert(bench: Bench, recursive: str) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT UNIQUE)")
    await bench.write("INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    seen = await bench.write(recursive, "INSERT OR REPLACE INTO t VALUES(1, 'b')")
    assert sorted(seen[:2]) == [deleted(1, "a"), deleted(2, "b")]
    assert seen[2:] == [inserted(1, "b")]


@RECURSION
async def test_a_row_replaced_by_an_update_is_a_delete(bench: Bench, recursive: str) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT UNIQUE)")
    await bench.write("INSERT INTO t VALUES(1, 'a'), (2, 'b'), (3, 'c')")
    seen = await bench.write(
        recursive,
        "UPDATE OR REPLACE t SET email = 'b' WHERE id = 1",
        "UPDATE OR REPLACE t SET id = 3 WHERE id = 1",
    )
    assert seen == [deleted(2, "b"), updated((1, "a"), (1, "b")), deleted(3, "c"), updated((1, "b"), (3, "b"))]


@RECURSION
@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE t(a INTEGER PRIMARY KEY ON CONFLICT REPLACE, b)",
        "CREATE TABLE t(a TEXT PRIMARY KEY ON CONFLICT REPLACE, b)",
        "CREATE TABLE t(a TEXT PRIMARY KEY ON CONFLICT REPLACE, b) WITHOUT ROWID",
        "CREATE TABLE t(a UNIQUE ON CONFLICT REPLACE, b)",
    ],
)
async def test_a_conflict_clause_in_the_schema_replaces_too(bench: Bench, recursive: str, schema: str) -> None:
    await bench.watch(schema)
    seen = await bench.write(recursive, "INSERT INTO t VALUES(1, 'x')", "INSERT INTO t VALUES(1, 'y')")
    key = 1 if "TEXT" not in schema else "1"
    assert seen == [inserted(key, "x"), deleted(key, "x"), inserted(key, "y")]


@RECURSION
@pytest.mark.parametrize("rowid", ["", " WITHOUT ROWID"])
async def test_composite_keys_replace_by_their_collation(bench: Bench, recursive: str, rowid: str) -> None:
    await bench.watch(f"CREATE TABLE t(a TEXT COLLATE NOCASE, b, c, PRIMARY KEY(a, b)){rowid}")
    seen = await bench.write(
        recursive, "INSERT INTO t VALUES('x', 1, 'one'), ('x', 2, 'two')", "REPLACE INTO t VALUES('X', 2, 'three')"
    )
    assert seen[2:] == [deleted("x", 2, "two"), inserted("X", 2, "three")]


@RECURSION
async def test_expression_and_partial_indexes_replace(bench: Bench, recursive: str) -> None:
    await bench.watch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, state TEXT COLLATE NOCASE, n INT)",
        "CREATE UNIQUE INDEX by_name ON t(lower(name) DESC, n) /* c */ WHERE state = 'LIVE' -- only those",
    )
    await bench.write("INSERT INTO t VALUES(1, 'Ann', 'live', 1), (2, 'ann', 'gone', 1), (3, NULL, 'live', 1)")
    seen = await bench.write(
        recursive,
        "REPLACE INTO t VALUES(7, 'ANN', 'gone', 1)",
        "REPLACE INTO t VALUES(8, 'ANN', 'Live', '1')",
        "REPLACE INTO t VALUES(9, NULL, 'live', 1)",
        "UPDATE OR REPLACE t SET state = 'live' WHERE id = 7",
    )
    assert seen == [
        inserted(7, "ANN", "gone", 1),
        deleted(1, "Ann", "live", 1),
        inserted(8, "ANN", "Live", 1),
        inserted(9, None, "live", 1),
        deleted(8, "ANN", "Live", 1),
        updated((7, "ANN", "gone", 1), (7, "ANN", "live", 1)),
    ]


async def test_an_index_collation_other_than_the_columns_replaces(bench: Bench) -> None:
    await bench.watch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)", "CREATE UNIQUE INDEX i ON t(a COLLATE NOCASE)"
    )
    seen = await bench.write("INSERT INTO t VALUES(1, 'a')", "REPLACE INTO t VALUES(2, 'A')")
    assert seen == [inserted(1, "a"), deleted(1, "a"), inserted(2, "A")]


@RECURSION
async def test_upsert_is_an_update_or_nothing(bench: Bench, recursive: str) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT UNIQUE, n INT)")
    await bench.write("INSERT INTO t VALUES(1, 'a', 0)")
    seen = await bench.write(
        recursive,
        "INSERT INTO t VALUES(5, 'a', 1) ON CONFLICT(email) DO UPDATE SET n = excluded.n",
        "INSERT INTO t VALUES(5, 'a', 2) ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO t VALUES(1, 'z', 3)",
        "INSERT INTO t(email, n) VALUES('b', 4) ON CONFLICT(email) DO UPDATE SET n = 9",
        "INSERT INTO t VALUES(1, 'k', 5) ON CONFLICT(id) DO UPDATE SET id = 40",
        "DELETE FROM t",
    )
    assert seen == [
        updated((1, "a", 0), (1, "a", 1)),
        inserted(2, "b", 4),
        updated((1, "a", 1), (40, "a", 1)),
        deleted(2, "b", 4),
        deleted(40, "a", 1),
    ]


async def test_what_a_failed_statement_left_behind_counts_and_nothing_else(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT UNIQUE)")
    await bench.write("INSERT INTO t VALUES(1, 'a')")
    bench.backend.write("INSERT OR FAIL INTO t VALUES(2, 'b'), (1, 'x'), (3, 'c')", fails=True)
    bench.backend.write("INSERT INTO t VALUES(4, 'd'), (1, 'x')", fails=True)
    seen = await bench.write("DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES(1, 'a')")
    assert seen == [inserted(2, "b"), deleted(1, "a"), inserted(1, "a")]


async def test_rollback_and_savepoints_deliver_what_was_kept(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    seen = await bench.write(
        "BEGIN",
        "INSERT INTO t VALUES(1)",
        "SAVEPOINT inner_one",
        "INSERT INTO t VALUES(2)",
        "ROLLBACK TO inner_one",
        "RELEASE inner_one",
        "COMMIT",
        "BEGIN",
        "DELETE FROM t",
        "ROLLBACK",
    )
    assert seen == [inserted(1)]


async def test_a_change_of_the_primary_key_is_an_update(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
    seen = await bench.write("INSERT INTO t VALUES(1, 'x')", "UPDATE t SET id = 2")
    assert seen == [inserted(1, "x"), updated((1, "x"), (2, "x"))]


async def test_a_table_without_a_key_and_its_hidden_rowid(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(a)")
    seen = await bench.write(
        "INSERT INTO t VALUES('x'), ('x')", "INSERT OR REPLACE INTO t(rowid, a) VALUES(1, 'y')", "DELETE FROM t"
    )
    assert seen == [inserted("x"), inserted("x"), deleted("x"), inserted("y"), deleted("y"), deleted("x")]


@pytest.mark.parametrize("columns", ["rowid TEXT, a", "rowid, _rowid_, a", "rowid, oid, _rowid_"])
async def test_columns_that_take_the_names_of_the_rowid(bench: Bench, columns: str) -> None:
    await bench.watch(f"CREATE TABLE t({columns})")
    row = tuple("x" for _ in columns.split(","))
    values = ", ".join("'x'" for _ in row)
    assert await bench.write(f"INSERT INTO t VALUES({values})", "DELETE FROM t") == [inserted(*row), deleted(*row)]


async def test_every_kind_of_value_in_any_column(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(a INT, b TEXT, c REAL, d BLOB, e)")
    seen = await bench.write(
        "INSERT INTO t VALUES('text', x'00ff', 'x', 5, NULL)",
        "INSERT INTO t VALUES(9007199254740991, 5, 5, 'b', 1.5)",
        "INSERT INTO t VALUES(9007199254740993, CAST(x'ff41' AS TEXT), 9e999, -9223372036854775808, -9e999)",
        "INSERT INTO t VALUES(1, 'nul' || char(0) || 'x', 'é', 9e999 - 9e999, x'')",
    )
    assert seen == [
        inserted("text", "AP8=", "x", 5, None),
        inserted(9007199254740991, "5", 5.0, "b", 1.5),
        inserted("9007199254740993", "\ufffdA", "Infinity", "-9223372036854775808", "-Infinity"),
        inserted(1, "nul\0x", "é", None, ""),
    ]


@pytest.mark.parametrize(
    "name", ["two words", 'say "hi"', "naïve 🦊", "select", "it's", "a.b", "[x]", "`y`", "%s{0}"]
)
async def test_names_that_need_quoting(bench: Bench, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    await bench.watch(f"CREATE TABLE {quoted}({quoted} INTEGER PRIMARY KEY, b UNIQUE)", table=name)
    seen = await bench.write(f"INSERT INTO {quoted} VALUES(1, 2)", f"REPLACE INTO {quoted} VALUES(3, 2)")
    assert seen == [inserted(1, 2), deleted(1, 2), inserted(3, 2)]
    assert list(bench.database.changes.columns(name)) == [name, "b"]


async def test_generated_columns_are_part_of_the_row(bench: Bench) -> None:
    await bench.watch(
        "CREATE TABLE t(a INT, b INT GENERATED ALWAYS AS (a * 2) VIRTUAL UNIQUE, c INT AS (a + 1) STORED)"
    )
    seen = await bench.write("INSERT INTO t(a) VALUES(1)", "UPDATE t SET a = 5", "REPLACE INTO t(a) VALUES(5)")
    assert seen == [inserted(1, 2, 2), updated((1, 2, 2), (5, 10, 6)), deleted(5, 10, 6), inserted(5, 10, 6)]


@RECURSION
async def test_foreign_key_cascades(bench: Bench, recursive: str) -> None:
    await bench.watch(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)",
    )
    seen = await bench.write(
        "PRAGMA foreign_keys=1",
        recursive,
        "INSERT INTO parent VALUES(1), (2)",
        "INSERT INTO t VALUES(1, 1), (2, 2)",
        "UPDATE parent SET id = 3 WHERE id = 1",
        "DELETE FROM parent WHERE id = 3",
        "REPLACE INTO parent VALUES(2)",
    )
    assert seen[2:] == [updated((1, 1), (1, 3)), deleted(1, 3), deleted(2, 2)]


@RECURSION
async def test_a_table_that_refers_to_itself_is_cleared_while_a_row_is_replaced(
    bench: Bench, recursive: str
) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, up REFERENCES t ON DELETE SET NULL)")
    await bench.write("INSERT INTO t VALUES(1, NULL), (2, 1)")
    seen = await bench.write("PRAGMA foreign_keys=1", recursive, "REPLACE INTO t VALUES(1, NULL)")
    assert sorted(seen, key=repr) == sorted(
        [deleted(1, None), inserted(1, None), updated((2, 1), (2, None))], key=repr
    )
    assert seen.index(deleted(1, None)) < seen.index(inserted(1, None))


async def test_triggers_of_the_users_own_come_after_what_set_them_off(bench: Bench) -> None:
    await bench.watch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, stamp)",
        "CREATE TRIGGER mine AFTER INSERT ON t BEGIN UPDATE t SET stamp = 'set' WHERE id = NEW.id; END",
    )
    assert await bench.write("INSERT INTO t VALUES(1, 'x', NULL)") == [
        inserted(1, "x", None),
        updated((1, "x", None), (1, "x", "set")),
    ]
    bench.backend.write(
        "CREATE TRIGGER late AFTER INSERT ON t BEGIN UPDATE t SET a = 'late' WHERE id = NEW.id; END"
    )
    await bench.recorder.until_interruptions(1)
    seen = await bench.write("INSERT INTO t VALUES(2, 'x', NULL)")
    assert seen[0] == inserted(2, "x", None)
    assert {row[0] for row in seen[1:]} == {"UPDATE"}


@pytest.mark.parametrize(
    "pragma",
    [
        "PRAGMA trusted_schema=OFF",
        "PRAGMA case_sensitive_like=ON",
        "PRAGMA foreign_keys=ON",
        "PRAGMA legacy_alter_table=ON",
        "PRAGMA reverse_unordered_selects=ON",
        ".dbconfig defensive on",
        ".dbconfig dqs_dml off",
        ".dbconfig dqs_ddl off",
        ".dbconfig trusted_schema off",
    ],
)
async def test_no_setting_of_the_writer_makes_its_write_fail(bench: Bench, pragma: str) -> None:
    await bench.watch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE)", "CREATE UNIQUE INDEX i ON t(lower(a))"
    )
    setting = pragma if pragma.startswith(".") else pragma + ";"
    seen = await bench.write(
        f"SELECT 1;\n{setting}\nINSERT INTO t VALUES(1, 'a')", "REPLACE INTO t VALUES(2, 'A')", "DELETE FROM t"
    )
    assert seen == [inserted(1, "a"), deleted(1, "a"), inserted(2, "A"), deleted(2, "A")]


async def test_a_writer_that_has_the_database_attached(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)")
    other = SqliteBackend(bench.backend.path.with_name("other.db"))
    other.write(
        f"ATTACH '{bench.backend.path}' AS theirs",
        "CREATE TABLE t(x)",
        "INSERT INTO theirs.t VALUES(1, 'a')",
        "REPLACE INTO theirs.t VALUES(2, 'a')",
        "DETACH theirs",
    )
    assert await bench.write() == [inserted(1, "a"), deleted(1, "a"), inserted(2, "a")]


async def test_a_value_of_many_megabytes(bench: Bench) -> None:
    await bench.watch("CREATE TABLE t(a)")
    seen = await bench.write("INSERT INTO t VALUES(zeroblob(5000000))", "UPDATE t SET a = 1")
    assert len(seen[0][1][0]) > 5_000_000
    assert seen[1][1] == (1,)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("search", "virtual"),
        ("search_content", "virtual"),
        ("sqlite_master", "no table"),
        ("sqlite_sequence", "no table"),
        ("_aerostack_changes", "no table"),
        ("T", "'t'"),
    ],
)
async def test_only_user_tables_can_be_watched(bench: Bench, name: str, says: str) -> None:
    await bench.watch("CREATE TABLE t(a)", "CREATE VIRTUAL TABLE search USING fts5(body)")
    with pytest.raises(NotFound, match=says):
        await bench.database.changes.watch(name)
