"""What real servers send is decoded: by SQL where a transaction is over, by replication while it is not."""

from __future__ import annotations

from aerostack_realtime.database.postgres.wal.pgoutput import (
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Relation,
    Truncate,
    Type,
    Update,
)
from aerostack_realtime.database.postgres.wal.rows import UNCHANGED, merged
from tests.contract.postgres.published import Make


def test_a_transaction_is_framed_by_positions_and_time(log: Make) -> None:
    orders = log("CREATE TABLE orders(id int PRIMARY KEY)")
    before = orders.one("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8")
    with orders.connection.transaction():
        orders.execute("INSERT INTO orders VALUES (1), (2)")
        xid = int(orders.one("SELECT txid_current()"))
    begin, relation, *inserts, commit = orders.read()
    assert isinstance(begin, Begin)
    assert isinstance(relation, Relation)
    assert isinstance(commit, Commit)
    assert begin.xid == xid
    assert begin.final_lsn == commit.commit_lsn < commit.end_lsn
    assert commit.end_lsn <= orders.one("SELECT (pg_current_wal_lsn() - '0/0')::int8")
    after = orders.one("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::int8")
    assert before <= begin.timestamp == commit.timestamp <= after
    assert inserts == [Insert(relation.oid, (b"1",)), Insert(relation.oid, (b"2",))]


def test_every_operation_holds_the_key_of_the_old_row(log: Make) -> None:
    orders = log("CREATE TABLE orders(id int PRIMARY KEY, text text)")
    oid = orders.one("SELECT 'orders'::regclass::oid::int8")
    orders.execute(
        "INSERT INTO orders VALUES (1, 'é'), (2, NULL)",
        "UPDATE orders SET text = '' WHERE id = 1",
        "UPDATE orders SET id = 3 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
    )
    assert orders.changes() == [
        Insert(oid, (b"1", "é".encode())),
        Insert(oid, (b"2", None)),
        Update(oid, None, False, (b"1", b"")),
        Update(oid, (b"1", None), True, (b"3", b"")),
        Delete(oid, (b"2", None), True),
    ]


def test_with_full_identity_the_old_row_holds_unchanged_large_values(log: Make) -> None:
    orders = log(
        "CREATE TABLE orders(id int PRIMARY KEY, text text, big text)",
        "ALTER TABLE orders ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL",
    )
    oid = orders.one("SELECT 'orders'::regclass::oid::int8")
    big = b"x" * 10_000
    orders.execute(
        "INSERT INTO orders VALUES (1, 'a', repeat('x', 10000))",
        "UPDATE orders SET text = 'b'",
        "UPDATE orders SET big = NULL",
        "DELETE FROM orders",
    )
    insert, update, emptied, delete = orders.changes()
    assert insert == Insert(oid, (b"1", b"a", big))
    assert update == Update(oid, (b"1", b"a", big), False, (b"1", b"b", UNCHANGED))
    assert isinstance(update, Update)
    assert merged(update.old, update.new) == (b"1", b"b", big)
    assert emptied == Update(oid, (b"1", b"b", big), False, (b"1", b"b", None))
    assert delete == Delete(oid, (b"1", b"b", None), False)


def test_truncate_lists_its_tables_and_options(log: Make) -> None:
    tables = log("CREATE TABLE a(id int PRIMARY KEY)", "CREATE TABLE b(a int REFERENCES a)")
    oids = tuple(tables.one(f"SELECT '{name}'::regclass::oid::int8") for name in "ab")
    tables.execute("TRUNCATE a CASCADE", "TRUNCATE b RESTART IDENTITY", "TRUNCATE a, b")
    assert tables.changes() == [
        Truncate(oids, True, False),
        Truncate(oids[1:], False, True),
        Truncate(oids, False, False),
    ]


def test_a_partitioned_table_is_one_table(log: Make) -> None:
    parts = log(
        "CREATE TABLE parts(id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE north PARTITION OF parts FOR VALUES IN ('n')",
        # its columns are in another order: what is sent is the root's
        "CREATE TABLE south(region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region))",
        "ALTER TABLE parts ATTACH PARTITION south FOR VALUES IN ('s')",
        "ALTER TABLE parts REPLICA IDENTITY FULL",
        "ALTER TABLE north REPLICA IDENTITY FULL",
        "ALTER TABLE south REPLICA IDENTITY FULL",
    )
    oid = parts.one("SELECT 'parts'::regclass::oid::int8")
    parts.execute(
        "INSERT INTO parts VALUES (1, 'n'), (2, 's')",
        "UPDATE parts SET id = 3 WHERE region = 's'",
        "UPDATE parts SET region = 's' WHERE region = 'n'",
    )
    messages = parts.read()
    decoded = {each.name: each.oid for each in messages if isinstance(each, Relation)}
    assert decoded["parts"] == oid, "the partitions are described, too, but their rows are not sent"
    assert [each for each in messages if isinstance(each, Insert | Update | Delete)] == [
        Insert(oid, (b"1", b"n")),
        Insert(oid, (b"2", b"s")),
        Update(oid, (b"2", b"s"), False, (b"3", b"s")),
        Delete(oid, (b"1", b"n"), False),
        Insert(oid, (b"1", b"s")),
    ], "a row that changes its partition is deleted and inserted"


def test_an_old_row_is_marked_by_the_root_and_filled_by_the_partition(log: Make) -> None:
    parts = log(
        "CREATE TABLE parts(id int PRIMARY KEY, text text) PARTITION BY RANGE (id)",
        "CREATE TABLE few PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "ALTER TABLE parts REPLICA IDENTITY FULL",  # which the partitions do not inherit
        "INSERT INTO parts VALUES (1, 'a'), (2, 'b')",
    )
    oid = parts.one("SELECT 'parts'::regclass::oid::int8")
    parts.execute("DELETE FROM parts WHERE id = 1")
    messages = parts.read()
    identities = {each.name: each.replica_identity for each in messages if isinstance(each, Relation)}
    assert identities == {"parts": "f", "few": "d"}
    assert Delete(oid, (b"1", None), False) in messages, "it is said to be whole, and is not"
    parts.execute("ALTER TABLE few REPLICA IDENTITY FULL", "DELETE FROM parts")
    assert parts.changes() == [Delete(oid, (b"2", b"b"), False)]


def test_names_and_types_are_sent_unchanged(log: Make) -> None:
    named = log(
        'CREATE SCHEMA "Größe, ""x"" y"',
        'CREATE TYPE "Größe, ""x"" y"."mo od" AS ENUM (\'a\')',
        'CREATE TABLE "Größe, ""x"" y"."T;a""b" ("né e" varchar(20) PRIMARY KEY, "M" "Größe, ""x"" y"."mo od")',
        'ALTER TABLE "Größe, ""x"" y"."T;a""b" REPLICA IDENTITY FULL',
    )
    (table, mood) = (
        named.one(f"SELECT oid::int8 FROM {catalog} WHERE {name}")
        for catalog, name in (("pg_class", "relname = 'T;a\"b'"), ("pg_type", "typname = 'mo od'"))
    )
    named.execute('INSERT INTO "Größe, ""x"" y"."T;a""b" VALUES (\'k\', \'a\')')
    _, type, relation, insert, _ = named.read()
    assert type == Type(mood, 'Größe, "x" y', "mo od")
    assert relation == Relation(
        table, 'Größe, "x" y', 'T;a"b', "f", (Column("né e", 1043, 24, True), Column("M", mood, -1, True))
    )
    assert insert == Insert(table, (b"k", b"a"))


def test_an_altered_relation_is_sent_again(log: Make) -> None:
    orders = log("CREATE TABLE orders(id int PRIMARY KEY, text text)")
    orders.execute(
        "INSERT INTO orders VALUES (1, 'a')",
        "ALTER TABLE orders RENAME text TO words",
        "ALTER TABLE orders ADD flag bool NOT NULL DEFAULT true",
        "INSERT INTO orders VALUES (2, 'b')",
        "ALTER TABLE orders DROP words",
        "INSERT INTO orders VALUES (3)",
    )
    decoded = [
        [column.name for column in each.columns] if isinstance(each, Relation) else each.new
        for each in orders.read()
        if isinstance(each, Relation | Insert)
    ]
    assert decoded == [
        ["id", "text"],
        (b"1", b"a"),
        ["id", "words", "flag"],
        (b"2", b"b", b"t"),
        ["id", "flag"],
        (b"3", b"t"),
    ]


def test_generated_columns_are_left_out(log: Make) -> None:
    orders = log(
        "CREATE TABLE orders(id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, text text)"
    )
    orders.execute("INSERT INTO orders VALUES (1, DEFAULT, 'a')")
    _, relation, insert, _ = orders.read()
    assert isinstance(relation, Relation)
    assert [column.name for column in relation.columns] == ["id", "text"]
    assert insert == Insert(relation.oid, (b"1", b"a"))


def test_rolled_back_changes_do_not_appear(log: Make) -> None:
    orders = log("CREATE TABLE orders(id int)")
    oid = orders.one("SELECT 'orders'::regclass::oid::int8")
    orders.execute(
        "BEGIN",
        "INSERT INTO orders VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO orders VALUES (2)",
        "ROLLBACK TO a",
        "INSERT INTO orders VALUES (3)",
        "COMMIT",
        "BEGIN",
        "INSERT INTO orders VALUES (4)",
        "ROLLBACK",
    )
    assert orders.changes() == [Insert(oid, (b"1",)), Insert(oid, (b"3",))]


def test_a_logical_message_comes_with_its_transaction_or_at_once(log: Make) -> None:
    empty = log()
    empty.execute(
        "BEGIN",
        r"SELECT pg_logical_emit_message(true, 'é', '\x00ff'::bytea)",
        "SELECT pg_logical_emit_message(false, '', 'at once')",
        "COMMIT",
        "BEGIN",
        "SELECT pg_logical_emit_message(true, 'not', 'sent')",
        "SELECT pg_logical_emit_message(false, 'sent', 'all the same')",
        "ROLLBACK",
        "CREATE TABLE orders(id int)",  # a commit, which flushes the log
    )
    if not empty.streams:
        assert [each for each in empty.read() if isinstance(each, LogicalMessage)] == []
        return
    found = empty.read(messages="true")
    at_once, all_the_same = (each for each in found if isinstance(each, LogicalMessage) and not each.transactional)
    assert (at_once.prefix, at_once.content) == ("", b"at once")
    assert (all_the_same.prefix, all_the_same.content) == ("sent", b"all the same")
    [part] = (each for each in found if isinstance(each, LogicalMessage) and each.transactional)
    assert (part.prefix, part.content) == ("é", b"\0\xff")
    where = found.index(part)
    assert isinstance(found[where - 1], Begin)
    assert isinstance(found[where + 1], Commit)
    assert part.lsn < at_once.lsn < all_the_same.lsn
