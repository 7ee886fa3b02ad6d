"""The types of a database: how to convert a value by the OID of its type.

Built-in types have fixed OIDs; all others are read from the catalogs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

from msgspec import Struct
from psycopg.postgres import types as registered
from psycopg.rows import tuple_row

from aerostack_realtime.database.base import ColumnType, Row
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.types import literals, values
from aerostack_realtime.database.postgres.types.values import Converter
from aerostack_realtime.database.postgres.wal.rows import (
    LENGTH,
    UNCHANGED,
    VALUE,
    Data,
    Values,
    compiled_reader,
)


class Plain(Struct, frozen=True):
    """A type without parts; ranges and unknown types are text."""

    convert: Converter = values.text


class Array(Struct, frozen=True, tag=True):
    """`element` is a type's OID. The element type defines the `delimiter`."""

    element: int
    delimiter: str = ","


class Domain(Struct, frozen=True, tag=True):
    base: int


class Composite(Struct, frozen=True, tag=True):
    """Attributes in their order, each with the OID of its type. `numbers` are the catalog's: they distinguish a
    dropped attribute from a new one of the same name."""

    attributes: tuple[tuple[str, int], ...]
    numbers: tuple[int, ...] = ()


class Enumeration(Struct, frozen=True, tag=True):
    """Values are text: one of these labels, each with an OID that stays when the label is renamed."""

    labels: tuple[tuple[int, str], ...]


Made = Array | Domain | Composite | Enumeration
"""A type that users create and whose values are converted by its parts."""
TypeShape = Plain | Made


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
"""The requested types with everything that they consist of. An array is what prints as one; `int2vector` does
not."""


class Layout:
    """Converts the rows of a relation. It keeps the types as they were when it was made.

    `composites`: the indexes of the columns whose types can be altered while they are in use.
    """

    def __init__(self, columns: Sequence[tuple[str, Converter]], composites: Sequence[int] = ()) -> None:
        self._columns = tuple(columns)
        self._composites = composites
        self._convert: Callable[[Values], Row] | None = None
        self.read: Callable[[Data, int], tuple[Row, int]] | None = None
        """Once it is compiled: reads the row at a position in a message of fewer than SHORT bytes, and where it
        ends. Raises ValueError for a value that its type does not print; Misread, IndexError and struct.error for
        an unchanged value, and for bytes that are not a row."""
        self.is_fixed = not composites
        """Whether every row fits: no type of a column can be altered while it is in use."""

    def compiled(self) -> Self:
        """This layout, quicker from now on: for more rows than it takes to compile it, about 100."""
        self._convert = _compiled(self._columns)
        self.read = _reader(self._columns)
        return self

    def fits(self, row: Values) -> bool:
        """Whether the row's composites print as the layout expects; if not, their types were altered."""
        for index in self._composites:
            value = row[index]
            if isinstance(value, bytes):
                try:
                    self._columns[index][1](value)
                except UnicodeDecodeError:  # a database in SQL_ASCII
                    continue
                except ValueError:
                    return False
        return True

    def to_row(self, row: Values) -> Row:
        """A row by column name; of two columns with one name, the last one. It never fails.

        A value that its type does not print is converted to its text; a value that is still UNCHANGED is left out.
        """
        try:
            return self._converted(row) if self._convert is None else self._convert(row)
        except (ValueError, TypeError, AttributeError):  # the latter two for UNCHANGED, which is not bytes
            return self._tolerant(row)

    def _converted(self, row: Values) -> Row:
        return {
            name: None if value is None else convert(value)  # type: ignore[arg-type] # see to_row
            for (name, convert), value in zip(self._columns, row, strict=True)
        }

    def _tolerant(self, row: Values) -> Row:
        found: Row = {}
        for (name, convert), value in zip(self._columns, row, strict=True):
            if value is not UNCHANGED:
                try:
                    found[name] = None if value is None else convert(value)
                except ValueError:
                    found[name] = values.repaired(value) if value is not None else None
        return found


def _compiled(columns: Sequence[tuple[str, Converter]]) -> Callable[[Values], Row]:
    """The function that converts a row of these columns, written out: it takes half the time of a loop."""
    row = "".join(f"v{number}, " for number in range(len(columns)))
    fields = ", ".join(
        f"{name!r}: None if v{number} is None else {_call(convert, number, f'v{number}', f'len(v{number})')}"
        for number, (name, convert) in enumerate(columns)
    )
    names = _names(columns)
    exec(f"def convert(row):\n    ({row}) = row\n    return {{{fields}}}\n", names)
    made: Callable[[Values], Row] = names["convert"]
    return made


def _reader(columns: Sequence[tuple[str, Converter]]) -> Callable[[Data, int], tuple[Row, int]]:
    """The function that reads a row of these columns in a message and converts it."""
    values = [_call(convert, number, VALUE, LENGTH) for number, (_, convert) in enumerate(columns)]
    fields = ", ".join(f"{name!r}: v{number}" for number, (name, _) in enumerate(columns))
    return compiled_reader(values, f"{{{fields}}}", _names(columns))


def _names(columns: Sequence[tuple[str, Converter]]) -> dict[str, Any]:
    """The converters by their names in the source of a function; a column's name is in it as a literal only."""
    return {f"c{number}": convert for number, (_, convert) in enumerate(columns)}


def _call(convert: Converter, number: int, value: str, length: str) -> str:
    if convert is values.integer:  # most primary keys: without a call while they are short
        return f"int({value}) if {length} < {values.SHORT_INTEGER} else c{number}({value})"
    return f"c{number}({value})"


UNKNOWN: Final = Layout(())
"""Stands in for a layout until the types are known."""


class Types:
    """The types of one database: the built-in ones and those that were loaded.

    A loaded type stays as it is until it is loaded again, although ALTER TYPE may change it.
    """

    def __init__(self) -> None:
        self._shapes: dict[int, TypeShape] = dict(BUILTINS)
        self._converters: dict[int, Converter] = {}

    def missing(self, oids: Iterable[int]) -> set[int]:
        """Those of the types, and of all they consist of, that have to be loaded."""
        return {oid for oid in self._closure(oids) if oid not in self._shapes}

    def composed(self, oids: Iterable[int]) -> set[int]:
        """Those of the types that are or contain composites: they can be altered while they are in use."""
        return {oid for oid in oids if self._is_composed(oid)}

    async def load(self, connection: Connection, oids: Iterable[int]) -> bool:
        """Read types, and all they consist of, from the catalogs in one query; whether a known one now prints
        differently: a composite with other attributes, an enum with a renamed label. Raises psycopg.Error.

        A type that no longer exists stays as it was last known; one that was never known is text.
        """
        asked = set(oids)
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_CATALOG, (sorted(asked),))
            found = {row[0]: _shape(*row[1:]) for row in await cursor.fetchall()}
        altered = any(not _extends(shape, self._shapes.get(oid, shape)) for oid, shape in found.items())
        self._converters.clear()
        self._shapes = dict.fromkeys(asked, Plain()) | self._shapes | found | BUILTINS
        return altered

    def converter(self, oid: int) -> Converter:
        """The converter of a type's values; an unknown type is text. It raises ValueError for a value that the
        type does not print, TypeError or AttributeError for what is not bytes."""
        found = self._converters.get(oid)
        if found is None:
            found = self._converters[oid] = self._make(self._shapes.get(oid, Plain()))
        return found

    def layout(self, columns: Iterable[tuple[str, int]]) -> Layout:
        """The layout of columns, each with the OID of its type, by the types as they are known now."""
        columns = tuple(columns)
        return Layout(
            [(name, self.converter(oid)) for name, oid in columns],
            [index for index, (_, oid) in enumerate(columns) if self._is_composed(oid)],
        )

    def column_types(self, columns: Iterable[tuple[str, int]]) -> dict[str, ColumnType]:
        """Those of the columns, each with the OID of its type, whose strings on the wire are not text."""
        found = {name: _KIND_OF.get(self._base(oid)) for name, oid in columns}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _base(self, oid: int) -> int:
        """The type that a domain is based on, else the type itself."""
        while isinstance(shape := self._shapes.get(oid), Domain):
            oid = shape.base
        return oid

    def _make(self, shape: TypeShape) -> Converter:
        match shape:
            case Plain(convert):
                return convert
            case Enumeration():
                return values.text
            case Array(element, delimiter):
                return literals.array(self.converter(element), delimiter.encode())
            case Domain(base):
                return self.converter(base)
            case Composite(attributes):
                return literals.composite(
                    [name for name, _ in attributes], [self.converter(oid) for _, oid in attributes]
                )

    def _is_composed(self, oid: int) -> bool:
        return any(isinstance(self._shapes.get(each), Composite) for each in self._closure([oid]))

    def _closure(self, oids: Iterable[int]) -> set[int]:
        """The types with everything that they are known to consist of."""
        seen: set[int] = set()
        waiting = list(oids)
        while waiting:
            oid = waiting.pop()
            if oid not in seen:
                seen.add(oid)
                waiting += _parts(self._shapes.get(oid, Plain()))
        return seen


def _extends(shape: TypeShape, before: TypeShape) -> bool:
    """Whether every value prints as before: the same shape, or an enum with more labels."""
    if isinstance(shape, Enumeration) and isinstance(before, Enumeration):
        return set(before.labels) <= set(shape.labels)
    return shape == before or isinstance(before, Plain)


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
    """The shape that a row of the catalogs describes."""
    if base is not None:
        return Domain(base)
    if element is not None:
        return Array(element, delimiter)
    if labels is not None:
        return Enumeration(tuple(zip(label_oids or (), labels, strict=True)))
    if composite:
        return Composite(tuple(zip(names or (), types or (), strict=True)), tuple(numbers or ()))
    return Plain()
