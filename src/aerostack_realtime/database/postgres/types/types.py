"""What is known of a database's types: how to read a value by the OID of its type.

The types that are built in have fixed OIDs; whatever else a database has is asked for once in its catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from psycopg.postgres import types as registered
from psycopg.rows import tuple_row

from aerostack_realtime.database.base import ColumnType, Row
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.types import literals, values
from aerostack_realtime.database.postgres.types.values import Converter
from aerostack_realtime.database.postgres.wal.pgoutput import UNCHANGED, Values


class Plain(Struct, frozen=True):
    """A type without parts; ranges and all that is not known here are text."""

    convert: Converter = values.text


class Array(Struct, frozen=True, tag=True):
    """`element` is a type's OID. A `delimiter` other than a comma is the element type's own wish."""

    element: int
    delimiter: str = ","


class Domain(Struct, frozen=True, tag=True):
    base: int


class Composite(Struct, frozen=True, tag=True):
    """Attributes in their order, each with the OID of its type. `numbers` are the catalog's, which tell an
    attribute that was dropped from one of the same name that was added."""

    attributes: tuple[tuple[str, int], ...]
    numbers: tuple[int, ...] = ()


class Enumeration(Struct, frozen=True, tag=True):
    """Values are text, one of these labels, each of which has an OID that it keeps when it is renamed."""

    labels: tuple[tuple[int, str], ...]


Made = Array | Domain | Composite | Enumeration
"""A type that users make, as far as its values are read by what it is made of."""
TypeShape = Plain | Made


class Edition(Struct, frozen=True):
    """A shape that a type has in the log from the place `since` on, until its next edition."""

    since: int
    shape: TypeShape


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


_KINDS: Final[dict[str, ColumnType]] = {
    "int8": "integer",
    "numeric": "decimal",
    "float4": "float",
    "float8": "float",
    "timestamptz": "instant",
    "uuid": "uuid",
}
_KIND_OF: Final = {each.oid: _KINDS[each.name] for each in registered if each.name in _KINDS}


def _builtins() -> dict[int, TypeShape]:
    known: dict[int, TypeShape] = {}
    for each in registered:
        known[each.oid] = Plain(_CONVERTERS.get(each.name, values.text))
        known[each.array_oid] = Array(each.oid, each.delimiter)
    return known


BUILTINS: Final = _builtins()

NEWEST: Final = 1 << 64
"""Behind every place in the log."""

_CATALOG: Final = """
WITH RECURSIVE attributes AS (
    SELECT attrelid, attnum::int4, attname::text AS name, atttypid::int8 AS type
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
       (SELECT array_agg(type ORDER BY attnum) FROM attributes WHERE attrelid = typrelid),
       (SELECT array_agg(attnum ORDER BY attnum) FROM attributes WHERE attrelid = typrelid),
       (SELECT array_agg(e.enumlabel::text ORDER BY e.oid) FROM pg_catalog.pg_enum e WHERE enumtypid = types.oid),
       (SELECT array_agg(e.oid::int8 ORDER BY e.oid) FROM pg_catalog.pg_enum e WHERE enumtypid = types.oid)
FROM needed JOIN types USING (oid)
"""
"""The types asked for, with all that they are made of. An array is what prints as one; `int2vector` does not."""


class Layout:
    """The columns of a relation, as a way from its rows to the wire's. It stays as it was made: make another when
    a type has changed.

    `forgiving`: by their places, the columns with composites in them and a converter for each that reads what any
    edition of these printed.
    """

    def __init__(self, columns: Sequence[tuple[str, Converter]], forgiving: Mapping[int, Converter] = {}) -> None:
        self._columns = tuple(columns)
        self._forgiving = forgiving

    def fits(self, row: Values) -> bool:
        """Whether the row's composites are as the layout expects them; if not, their types were altered."""
        for position in self._forgiving:
            value = row[position]
            if isinstance(value, bytes):
                try:
                    self._columns[position][1](value)
                except ValueError:
                    return False
        return True

    def to_row(self, row: Values) -> Row:
        """A row by column name, of two columns of one name the last one; it fails on no value.

        A value that its type never printed is its text; a value that is UNCHANGED still is left out.
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
        for position, ((name, convert), value) in enumerate(zip(self._columns, row, strict=True)):
            if value is not UNCHANGED:
                try:
                    found[name] = None if value is None else self._forgiving.get(position, convert)(value)
                except ValueError:
                    found[name] = values.repaired(value) if value is not None else None
        return found


class Types:
    """The types of one database, those that are built in and those that were loaded.

    What was loaded stays as it is until it is loaded again, although ALTER TYPE may give a composite other
    attributes; `learn` tells of earlier editions, which the log still has values of.
    """

    def __init__(self) -> None:
        self._shapes: dict[int, TypeShape] = dict(BUILTINS)
        self._editions: dict[int, Sequence[Edition]] = {}
        self._converters: dict[tuple[int, int, bool], Converter] = {}

    def missing(self, oids: Iterable[int]) -> set[int]:
        """Those of the types, and of all they are made of, that have to be loaded."""
        return {oid for oid in self._closure(oids) if oid not in self._shapes}

    def composed(self, oids: Iterable[int]) -> set[int]:
        """Those of the types that are, or are made of, composites: what may be altered while it is in use."""
        return {oid for oid in oids if self._is_composed(oid)}

    async def load(self, connection: Connection, oids: Iterable[int]) -> dict[int, Made]:
        """Ask the database about types and all they are made of, in one query, and return what users made of
        these. Raises psycopg.Error.

        A type that does not exist (any more) is what it was at its end, if that is known, else text.
        """
        asked = set(oids)
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_CATALOG, (sorted(asked),))
            found = {row[0]: _shape(*row[1:]) for row in await cursor.fetchall()}
        self._converters.clear()
        gone = {oid: self._editions[oid][-1].shape if oid in self._editions else Plain() for oid in asked}
        self._shapes |= gone | found | BUILTINS
        return {oid: shape for oid, shape in found.items() if oid not in BUILTINS and not isinstance(shape, Plain)}

    def learn(self, editions: Mapping[int, Sequence[Edition]]) -> None:
        """Take in types' editions, each in their order; the last one is what a type is now or was at its end."""
        for oid, known in editions.items():
            self._editions[oid] = known
            self._shapes[oid] = known[-1].shape
        self._converters.clear()

    def converter(self, oid: int) -> Converter:
        """How to read a type's values; one that is not known is text. It raises ValueError for a value that the
        type does not print, TypeError for what is not bytes."""
        return self._converter(oid, NEWEST, forgiving=False)

    def layout(self, columns: Iterable[tuple[str, int]]) -> Layout:
        """The layout of columns, each with the OID of its type, as these are known now."""
        return self._layout(tuple(columns), NEWEST)

    def layouts(self, columns: Iterable[tuple[str, int]]) -> list[tuple[int, Layout]]:
        """The layouts of columns in the log, the newest first, each with the place from which on it holds."""
        columns = tuple(columns)
        positions = {0}
        for oid in self._closure(oid for _, oid in columns):
            positions.update(edition.since for edition in self._editions.get(oid, ()))
        return [(position, self._layout(columns, position)) for position in sorted(positions, reverse=True)]

    def column_types(self, columns: Iterable[tuple[str, int]]) -> dict[str, ColumnType]:
        """Those of the columns, each with the OID of its type, whose strings on the wire are no text."""
        found = {name: _KIND_OF.get(self._base(oid)) for name, oid in columns}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _base(self, oid: int) -> int:
        """The type that a domain is of, else the type itself."""
        while isinstance(shape := self._shapes.get(oid), Domain):
            oid = shape.base
        return oid

    def _layout(self, columns: Sequence[tuple[str, int]], position: int) -> Layout:
        return Layout(
            [(name, self._converter(oid, position, forgiving=False)) for name, oid in columns],
            {
                number: self._converter(oid, position, forgiving=True)
                for number, (_, oid) in enumerate(columns)
                if self._is_composed(oid)
            },
        )

    def _converter(self, oid: int, position: int, *, forgiving: bool) -> Converter:
        """How a type's values at a place in the log are read; forgiving: those of other editions as well."""
        key = (oid, position, forgiving)
        found = self._converters.get(key)
        if found is None:
            shapes = self._at(oid, position)
            made = [
                self._make(shape, position, forgiving=forgiving) for shape in shapes[: None if forgiving else 1]
            ]
            found = self._converters[key] = made[0] if len(made) == 1 else literals.first_of(made)
        return found

    def _at(self, oid: int, position: int) -> Sequence[TypeShape]:
        """The shapes that a type may have had at a place in the log, the likeliest first.

        That is its edition there; the next one, since an alteration is seen a moment after it was made; or the one
        before, since a change is printed by the types at its own place and stands here by its commit's.
        """
        editions = self._editions.get(oid, ())
        newest = self._shapes.get(oid, Plain())
        if position == NEWEST or not editions:
            return [newest, *(each.shape for each in editions[-2:-1])]
        at = max(0, sum(edition.since <= position for edition in editions) - 1)
        nearest = [editions[at], *editions[at + 1 : at + 2], *editions[max(0, at - 1) : at]]
        return [each.shape for each in nearest]

    def _make(self, shape: TypeShape, position: int, *, forgiving: bool) -> Converter:
        def part(oid: int) -> Converter:
            return self._converter(oid, position, forgiving=forgiving)

        match shape:
            case Plain(convert):
                return convert
            case Enumeration():
                return values.text
            case Array(element, delimiter):
                return literals.array(part(element), delimiter.encode())
            case Domain(base):
                return part(base)
            case Composite(attributes):
                return literals.composite([name for name, _ in attributes], [part(oid) for _, oid in attributes])

    def _is_composed(self, oid: int) -> bool:
        return any(isinstance(self._shapes.get(each), Composite) for each in self._closure([oid]))

    def _closure(self, oids: Iterable[int]) -> set[int]:
        """The types with all that they are, and were, known to be made of."""
        seen: set[int] = set()
        waiting = list(oids)
        while waiting:
            oid = waiting.pop()
            if oid not in seen:
                seen.add(oid)
                waiting += _parts(self._shapes.get(oid, Plain()))
                for edition in self._editions.get(oid, ()):
                    waiting += _parts(edition.shape)
        return seen


def _parts(shape: TypeShape) -> Iterable[int]:
    match shape:
        case Plain() | Enumeration():
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
    numbers: list[int] | None,
    labels: list[str] | None,
    label_oids: list[int] | None,
) -> TypeShape:
    """The shape that a row of the catalog's answer describes."""
    if base is not None:
        return Domain(base)
    if element is not None:
        return Array(element, delimiter)
    if labels is not None:
        return Enumeration(tuple(zip(label_oids or (), labels, strict=True)))
    if composite:
        return Composite(tuple(zip(names or (), types or (), strict=True)), tuple(numbers or ()))
    return Plain()
