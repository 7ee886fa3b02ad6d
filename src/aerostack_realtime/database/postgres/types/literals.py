"""Parses arrays and composites from PostgreSQL's text (§8.15 and §8.16 of its manual)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from aerostack_realtime.database.base import Value
from aerostack_realtime.database.postgres.types.values import Converter

DIMENSIONS: Final = 6
"""The limit of PostgreSQL's arrays."""


_STRUCTURE = re.compile(rb'["\\{}]')


def array(element: Converter, delimiter: bytes = b",") -> Converter:
    """The converter of the arrays of a type: (nested) lists. Their lower bounds are dropped."""
    token = re.compile(
        rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^{}"\\%b]+)|[{}%b]' % (re.escape(delimiter), re.escape(delimiter)),
        re.DOTALL,
    )

    def convert(value: bytes) -> list[Any]:
        start = value.index(b"=") + 1 if value[:1] == b"[" else 0  # [0:2]={1,2,3}
        if value[start : start + 1] != b"{" or value[-1:] != b"}":
            raise ValueError(value[:10])
        inner = value[start + 1 : -1]
        if _STRUCTURE.search(inner):
            return _nested(value, start, token, element)
        if not inner:
            return []
        return [None if part == b"NULL" else element(part) for part in inner.split(delimiter)]

    return convert


def _nested(value: bytes, at: int, token: re.Pattern[bytes], element: Converter) -> list[Any]:
    """The array that is the rest of `value` from `at` on."""
    whole: list[Any] = []
    within = [whole]  # the open lists
    wanted = True  # a value or a list may follow, else a delimiter or an end
    while at < len(value):
        found = token.match(value, at)
        if found is None or (len(within) == 1 and (found[0] != b"{" or whole)):
            raise ValueError(at)
        at = found.end()
        quoted, bare = found.groups()
        if quoted is not None or bare is not None or found[0] == b"{":
            if not wanted:
                raise ValueError(at)
            wanted = False
            if quoted is not None:
                within[-1].append(element(_unescaped(quoted)))
            elif bare is not None:
                within[-1].append(None if bare == b"NULL" else element(bare))
            elif len(within) > DIMENSIONS:
                raise ValueError(at)
            else:
                inner: list[Any] = []
                within[-1].append(inner)
                within.append(inner)
                wanted = True
        elif found[0] == b"}":
            if wanted and within[-1]:
                raise ValueError(at)
            within.pop()
            wanted = False
        else:
            if wanted:
                raise ValueError(at)
            wanted = True
    if len(within) > 1:
        raise ValueError(at)
    return whole[0]  # type: ignore[no-any-return]


_ESCAPED = re.compile(rb'["\\](.)', re.DOTALL)
"""A composite doubles a quote or a backslash, an array escapes it by a backslash."""


def _unescaped(quoted: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted or b'"' in quoted else quoted


_FIELD = re.compile(rb'"([^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+)"|([^",]*+)', re.DOTALL)


def composite(names: Sequence[str], converters: Sequence[Converter]) -> Converter:
    """The converter of a composite type: an object by attribute name."""

    def convert(value: bytes) -> dict[str, Value]:
        if value[:1] != b"(" or value[-1:] != b")":
            raise ValueError(value[:10])
        fields = _fields(value[1:-1]) if names else []
        if len(fields) != len(names):
            raise ValueError(len(fields))
        return {
            name: None if field is None else to_wire(field)
            for name, to_wire, field in zip(names, converters, fields, strict=True)
        }

    return convert


def _fields(inner: bytes) -> list[bytes | None]:
    """The fields between the parentheses; an empty field is NULL, an empty value is quoted."""
    if b'"' not in inner:
        return [field or None for field in inner.split(b",")]
    fields: list[bytes | None] = []
    at = 0
    while True:
        found = _FIELD.match(inner, at)
        assert found is not None, "the pattern matches the empty string"
        quoted, bare = found.groups()
        fields.append(bare or None if quoted is None else _unescaped(quoted))
        at = found.end()
        if at == len(inner):
            return fields
        if inner[at : at + 1] != b",":
            raise ValueError(at)
        at += 1
