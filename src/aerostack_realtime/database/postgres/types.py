"""What is known of a database's types: how to read a value by the OID of its type.

The types that are built in have fixed OIDs; whatever else a database has is asked for once in its catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from psycopg.postgres import types as registered
from psycopg.rows import tuple_row

from aerostack_realtime.database.base import Kind, Row
from aerostack_realtime.database.postgres import literals, values
from aerostack_realtime.database.postgres.connection import Connection
from aerostack_realtime.database.postgres.pgoutput import UNCHANGED, Values
from aerostack_realtime.database.postgres.values import Converter


class Plain(Struct, frozen=True):
    """A type without parts; enums, ranges and all that is not known here are text."""

    convert: Converter = values.text


class Array(Struct, frozen=True):
    """`element` is a type's OID. A `delimiter` other than a comma is the element type's own wish."""

    element: int
    delimiter: bytes = b","


class Domain(Struct, frozen=True):
    base: int


class Composite(Struct, frozen=True):
    """Attributes in their order, each with the OID of its type."""

    attributes: tuple[tuple[str, int], ...]


Shape = Plain | Array | Domain | Composite

_CONVERTERS: Final[dict[str, Converter]] = {
    "bool": values.boolean,
    "int2": int,
    "int4": int,
    "int8": values.integer,
    "oid": int,
    "float4": values.double,
    "float8": values.double,
    "bytea": values.bytea,
    "json": values.json_value,
    "jsonb": values.json_value,
    "timestamp": values.timestamp,
    "timestamptz": values.zoned,
    "timetz": values.zoned,
}


_KINDS: Final[dict[str, Kind]] = {
    "int8": "integer",
    "numeric": "decimal",
    "float4": "float",
    "float8": "float",
    "timestamptz": "instant",
    "uuid": "uuid",
}
_KIND_OF: Final = {each.oid: _KINDS[each.name] for each in registered if each.name in _KINDS}


def _builtins() -> dict[int, Shape]:
    known: dict[int, Shape] = {}
    for each in registered:
        known[each.oid] = Plain(_CONVERTERS.get(each.name, values.text))
        known[each.array_oid] = Array(each.oid, each.delimiter.encode())
    return known


BUILTINS: Final = _builtins()

_CATALOG: Final = """
WITH RECURSIVE attributes AS (
    SELECT attrelid, attnum, attname::text AS name, atttypid::int8 AS type
    FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped
), types AS (
    SELECT oid::int8, typrelid, typdelim::text AS delimiter,
           CASE WHEN typtype = 'd' THEN typbasetype::int8 END AS base,
           CASE WHEN typoutput = 'pg_catalog.array_out'::regproc AND typtype <> 'd'
                THEN typelem::int8 END AS element
    FROM pg_catalog.pg_type
), needed(oid) AS (
    SELECT unnest(%s::int8[])
  UNION
    SELECT part.oid FROM needed JOIN types t USING (oid), LATERAL (
        SELECT t.element AS oid
        UNION ALL SELECT t.base
        UNION ALL SELECT type FROM attributes WHERE attrelid = t.typrelid
    ) part WHERE part.oid IS NOT NULL
)
SELECT oid, base, element, delimiter, typrelid <> 0,
       (SELECT array_agg(name ORDER BY attnum) FROM attributes WHERE attrelid = typrelid),
       (SELECT array_agg(type ORDER BY attnum) FROM attributes WHERE attrelid = typrelid)
FROM needed JOIN types USING (oid)
"""
"""The types asked for, with all that they are made of. An array is what prints as one; `int2vector` does not."""


class Layout:
    """The columns of a relation, as a way from its rows to the wire's. It stays as it was made: make another when
    a type has changed."""

    def __init__(self, columns: Sequence[tuple[str, Converter]]) -> None:
        self._columns = tuple(columns)

    def to_row(self, row: Values) -> Row:
        """A row by column name, of two columns of one name the last one; it fails on no value.

        A value that its type does not print (a composite that was altered since the change) is its text; a value
        that is UNCHANGED still is left out.
        """
        try:
            return {
                name: None if value is None else convert(value)  # type: ignore[arg-type] # see below
                for (name, convert), value in zip(self._columns, row, strict=True)
            }
        except (ValueError, TypeError):  # a TypeError is what every converter says of UNCHANGED
            return self._tolerant(row)

    def _tolerant(self, row: Values) -> Row:
        found: Row = {}
        for (name, convert), value in zip(self._columns, row, strict=True):
            if value is not UNCHANGED:
                try:
                    found[name] = None if value is None else convert(value)
                except ValueError:
                    found[name] = values.repaired(value) if value is not None else None
        return found


class Types:
    """The types of one database, those that are built in and those that were loaded.

    What was loaded stays known until it is forgotten, although ALTER TYPE may give a composite other attributes.
    """

    def __init__(self) -> None:
        self._shapes: dict[int, Shape] = dict(BUILTINS)
        self._converters: dict[int, Converter] = {}

    def missing(self, oids: Iterable[int]) -> set[int]:
        """Those of the types, and of all they are made of, that have to be loaded."""
        return {oid for oid in self._closure(oids) if oid not in self._shapes}

    async def load(self, connection: Connection, oids: Iterable[int]) -> None:
        """Ask the database about types and all they are made of, in one query. Raises psycopg.Error.

        A type that does not exist (any more) is known as text from then on.
        """
        asked = set(oids)
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_CATALOG, (sorted(asked),))
            found = {row[0]: _shape(*row[1:]) for row in await cursor.fetchall()}
        self._converters.clear()
        self._shapes |= dict.fromkeys(asked, Plain()) | found | BUILTINS

    def converter(self, oid: int) -> Converter:
        """How to read a type's values; one that is not known is text. It raises ValueError for a value that the
        type does not print, TypeError for what is not bytes."""
        found = self._converters.get(oid)
        if found is None:
            found = self._converters[oid] = self._make(self._shapes.get(oid, Plain()))
        return found

    def layout(self, columns: Iterable[tuple[str, int]]) -> Layout:
        """The layout of columns, each with the OID of its type, as these are known now."""
        return Layout([(name, self.converter(oid)) for name, oid in columns])

    def kinds(self, columns: Iterable[tuple[str, int]]) -> dict[str, Kind]:
        """Those of the columns, each with the OID of its type, whose strings on the wire are no text."""
        found = {name: _KIND_OF.get(self._base(oid)) for name, oid in columns}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _base(self, oid: int) -> int:
        """The type that a domain is of, else the type itself."""
        while isinstance(shape := self._shapes.get(oid), Domain):
            oid = shape.base
        return oid

    def forget(self, oids: Iterable[int]) -> None:
        """Let types and all they are made of be loaded again."""
        for oid in self._closure(oids):
            if oid not in BUILTINS:
                self._shapes.pop(oid, None)
        self._converters.clear()

    def clear(self) -> None:
        """Forget every type but those that are built in."""
        self._shapes = dict(BUILTINS)
        self._converters.clear()

    def _make(self, shape: Shape) -> Converter:
        match shape:
            case Plain(convert):
                return convert
            case Array(element, delimiter):
                return literals.array(self.converter(element), delimiter)
            case Domain(base):
                return self.converter(base)
            case Composite(attributes):
                return literals.composite(
                    [name for name, _ in attributes], [self.converter(oid) for _, oid in attributes]
                )

    def _closure(self, oids: Iterable[int]) -> set[int]:
        """The types with all that they are known to be made of."""
        seen: set[int] = set()
        waiting = list(oids)
        while waiting:
            oid = waiting.pop()
            if oid not in seen:
                seen.add(oid)
                waiting += _parts(self._shapes.get(oid, Plain()))
        return seen


def _parts(shape: Shape) -> Iterable[int]:
    match shape:
        case Plain():
            return ()
        case Array(part) | Domain(part):
            return (part,)
        case Composite(attributes):
            return (oid for _, oid in attributes)


def _shape(
    base: int | None,
    element: int | None,
    delimiter: str,
    composite: bool,
    names: list[str] | None,
    types: list[int] | None,
) -> Shape:
    """The shape that a row of the catalog's answer describes."""
    if base is not None:
        return Domain(base)
    if element is not None:
        return Array(element, delimiter.encode())
    if composite:
        return Composite(tuple(zip(names or (), types or (), strict=True)))
    return Plain()
