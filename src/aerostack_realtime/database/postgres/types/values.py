"""Converts PostgreSQL's values to the wire (docs/protocol.md §4, "Row changes"), and parameters back.

Values are the text that a session with the settings of connection.address.SESSION prints. A converter takes the
bytes of one value, never NULL, and raises ValueError for what its type does not print.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from binascii import unhexlify
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from aerostack_realtime.database.base import Value
from aerostack_realtime.protocol.errors import BadMessage

SAFE_INTEGER: Final = 2**53 - 1
"""Beyond it, a JSON number is not exact in a browser."""

SHORT_INTEGER: Final = 16
"""An integer of fewer characters is less than 10¹⁵."""

_INT64 = range(-(2**63), 2**63)

JSON_DEPTH: Final = 200
"""JSON that is nested deeper stays text: readers have limits (Python's is 1,000)."""

Converter = Callable[[bytes], Value]

text: Converter = bytes.decode


def repaired(value: bytes) -> str:
    """Text from any bytes: those that are not UTF-8 (possible in a database in SQL_ASCII) become U+FFFD."""
    return value.decode("utf-8", "replace")


def boolean(value: bytes) -> bool:
    if value == b"t":
        return True
    if value == b"f":
        return False
    raise ValueError(value)


def integer(value: bytes) -> int | str:
    if len(value) < SHORT_INTEGER:
        return int(value)
    number = int(value)
    return number if -SAFE_INTEGER <= number <= SAFE_INTEGER else str(number)


def double(value: bytes) -> float | str:
    """A number, or `NaN`, `Infinity`, `-Infinity`."""
    number = float(value)
    return number if isfinite(number) else value.decode()


def bytea(value: bytes) -> str:
    if value[:2] != b"\\x":
        raise ValueError(value[:2])
    return b64encode(unhexlify(value[2:])).decode()


def timestamp(value: bytes) -> str:
    """ISO 8601 with a `T`; `infinity`, `-infinity` and years BC as PostgreSQL prints them."""
    day, space, rest = value.decode().partition(" ")
    if not space or rest.endswith(" BC"):
        return day + space + rest
    return f"{day}T{rest}"


def zoned(value: bytes) -> str:
    """A timestamp or time whose offset gets its minutes: `+00` is not ISO 8601's extended format."""
    written = timestamp(value)
    return f"{written}:00" if written[-3:-2] in ("+", "-") else written


_DELICATE: Final = re.compile(rb"\d{16}|\d[eE][+-]?\d{3}|\\u[dD][89a-fA-F]")
"""Matches every surrogate and every number beyond the wire's, and some others, which take the slower path."""


def json_value(value: bytes) -> Value:
    """JSON with the numbers that RFC 8259 §6 calls interoperable.

    Integers beyond ±(2^53−1) are strings of their digits, as everywhere; fractions are the nearest double, as in
    any JSON reader; a number without a near finite double (`1e400`) is a string. The last of repeated keys counts,
    half a surrogate pair becomes U+FFFD, and JSON nested deeper than JSON_DEPTH stays text.
    """
    if value.count(b"[") + value.count(b"{") <= JSON_DEPTH and _DELICATE.search(value) is None:
        return msgspec.json.decode(value)  # type: ignore[no-any-return]
    try:
        return _plain(json.loads(value, parse_int=_json_integer, parse_float=_json_double), JSON_DEPTH)
    except RecursionError:
        return text(value)


def _json_integer(digits: str) -> int | str:
    if len(digits) < 16:
        return int(digits)
    return digits if len(digits) > 17 or abs(int(digits)) > SAFE_INTEGER else int(digits)


def _json_double(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else digits


def _plain(value: Any, depth: int) -> Value:
    """The value without unpaired surrogates. Raises RecursionError when it is nested deeper than `depth`."""
    kind = type(value)
    if kind is str:
        return _whole(value)
    if kind is not dict and kind is not list:
        return value  # type: ignore[no-any-return]
    if depth == 0:
        raise RecursionError
    if kind is list:
        return [_plain(item, depth - 1) for item in value]
    return {_whole(key): _plain(item, depth - 1) for key, item in value.items()}


def _whole(characters: str) -> str:
    return characters if _encodable(characters) else re.sub("[\ud800-\udfff]", "\ufffd", characters)


def to_parameters(params: Sequence[Value]) -> list[bytes | None]:
    """A statement's parameters in text format; the server infers their types.

    Raises BadMessage for what PostgreSQL cannot store.
    """
    return [None if value is None else _parameter(number, value) for number, value in enumerate(params, 1)]


def _parameter(number: int, value: Value) -> bytes:
    if isinstance(value, (list, dict)):
        raise BadMessage(f"Parameter {number} is a {type(value).__name__}: pass it as JSON text instead.")
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        if value not in _INT64:
            raise BadMessage(f"Parameter {number} does not fit into 64 bits: pass it as text instead.")
        return b"%d" % value
    if isinstance(value, float):
        return repr(value).encode()  # PostgreSQL reads `nan` and `inf`, too
    if not isinstance(value, str):
        raise BadMessage(f"Parameter {number} must be null, a boolean, a number or a string.")
    if "\0" in value:
        raise BadMessage(f"Parameter {number} contains a NUL character, which PostgreSQL cannot store in text.")
    if not _encodable(value):
        raise BadMessage(f"Parameter {number} contains an unpaired surrogate, which is not valid text.")
    return value.encode()


def _encodable(characters: str) -> bool:
    try:
        characters.encode()
    except UnicodeEncodeError:
        return False
    return True
