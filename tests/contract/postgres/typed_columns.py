"""Columns of many types with values for them, and what the protocol makes of a value of psycopg."""

import re
from base64 import b64encode
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import isfinite
from typing import Any
from uuid import UUID

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

SCHEMA = """
CREATE SCHEMA "Größe, ""x"" y";
CREATE TYPE mood AS ENUM ('sad', 'so so', 'häppy "\\', 'NULL');
CREATE DOMAIN positive AS int8 CHECK (VALUE > 0);
CREATE DOMAIN tags AS text[];
CREATE TYPE "Größe, ""x"" y"."Ty,pe" AS (x float8, "né e" numeric, dropped int, "q""u" text);
ALTER TYPE "Größe, ""x"" y"."Ty,pe" DROP ATTRIBUTE dropped;
CREATE TYPE deep AS (m mood, t "Größe, ""x"" y"."Ty,pe", a "Größe, ""x"" y"."Ty,pe"[],
    n positive, j jsonb, at timestamptz);
CREATE DOMAIN shallow AS deep;
"""
TABLE = '"Größe, ""x"" y"."Ta""ble"'
TYPE = '"Größe, ""x"" y"."Ty,pe"'
NASTY = r"""E'a "b" \\ \\\\ ,;{}() \n\t é '''"""
SHAPE = f"ROW(1.5, 2.50, {NASTY})::{TYPE}"
COLUMNS: list[tuple[str, list[str]]] = [
    ("boolean", ["true", "false"]),
    ("int2", ["-32768", "0"]),
    ("int4", ["2147483647", "-5"]),
    ("int8", ["9007199254740991", "9007199254740992"]),
    ("oid", ["4294967295", "0"]),
    ("numeric", ["12.50", "'NaN'"]),
    ("numeric(30, 10)", ["1234567890123456789.0123456789", "-0.1"]),
    ("float4", ["0.1", "'NaN'"]),
    ("float8", ["0.1", "'-Infinity'"]),
    ("money", ["12.5", "-1000"]),
    ("text", [NASTY, "''"]),
    ("varchar(9)", ["'NULL'", "'null'"]),
    ("char(4)", ["'ab'", "'é'"]),
    ('"char"', ["'x'", "'y'"]),
    ("name", ["'na me'", "''"]),
    ("bytea", [r"'\x00ff5c'", "''"]),
    ("uuid", ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "gen_random_uuid()"]),
    ("json", ["""'{"b": 1, "a": [null, 1.5, "é \\" \\u00e9"], "b": 9007199254740993}'""", "' 1 '"]),
    ("jsonb", ["""'{"b": 1, "a": [null, 1.5, "é \\" \\u00e9"], "n": 9007199254740993}'""", "'null'"]),
    ("jsonpath", ["'$.a[*]'", "'$'"]),
    ("xml", ["'<a>é</a>'", "'text'"]),
    ("date", ["'2026-11-25'", "'0001-01-01'"]),
    ("time", ["'07:08:09.5'", "'00:00'"]),
    ("timetz", ["'07:08:09.123456+05:30'", "'07:08-02'"]),
    ("timestamp", ["'2026-11-25 07:00'", "'1999-12-31 23:59:59.999999'"]),
    ("timestamptz", ["'2026-11-25 07:00+02'", "'0001-01-02 00:00:00.5+00'"]),
    ("inet", ["'192.168.0.1'", "'2001:db8::1/64'"]),
    ("cidr", ["'10.0.0.0/8'", "'2001:db8::/32'"]),
    ("macaddr", ["'08:00:2b:01:02:03'", "'08002b010203'"]),
    ("bit(3)", ["B'101'", "B'000'"]),
    ("varbit", ["B'1'", "B''"]),
    ("point", ["'(1.5,2)'", "'(0,0)'"]),
    ("box", ["'(3,4),(1,2)'", "'(1,1),(0,0)'"]),
    ("polygon", ["'((0,0),(1,1),(2,0))'", "'((0,0))'"]),
    ("tsvector", ["'a:1 fat:2 ''c d'':3'", "''"]),
    ("pg_lsn", ["'16/B374D848'", "'0/0'"]),
    ("xid", ["'4294967295'", "'3'"]),
    ("int2vector", ["'1 2 3'", "''"]),
    ("int4range", ["'(1,5)'", "'empty'"]),
    ("numrange", ["'[1.50,)'", "'(,)'"]),
    ("mood", ["'so so'", "'häppy \"\\'"]),
    ("positive", ["5", "9007199254740993"]),
    ("tags", [f"ARRAY[{NASTY}, NULL, '', 'NULL']", "'{}'"]),
    (TYPE, [SHAPE, f"ROW(NULL, NULL, '')::{TYPE}"]),
    (
        "deep",
        [
            f"ROW('NULL', {SHAPE}, ARRAY[{SHAPE}, NULL], 9007199254740993, '[\"\\\\\"]', '2026-11-25 07:00+00')",
            "ROW('häppy \"\\', NULL, '{}', NULL, 'null', NULL)",
        ],
    ),
    ("shallow", [f"ROW('sad', {SHAPE}, NULL, 1, '{{}}', NULL)", "ROW(NULL, NULL, NULL, NULL, NULL, NULL)"]),
]
ARRAYS = [
    (f"{type}[]", [f"ARRAY[[{first}, NULL], [{second}, {first}]]::{type}[]", f"ARRAY[{second}]::{type}[]"])
    for type, (first, second) in COLUMNS
    if type not in ("tags", "shallow")  # psycopg does not read these; see below
]


def wire(value: Any) -> Any:
    """A value of psycopg as the protocol has it."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < 2**53 else str(value)
        case float():
            return value if isfinite(value) else {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(value)]
        case Decimal():
            return f"{value:f}"
        case Enum():
            return value.name
        case bytes():
            return b64encode(value).decode()
        case datetime() | time():
            return re.sub(r"(\.\d*?)0+(?=[+-]|$)", r"\1", value.isoformat()).replace(".+", "+")
        case date() | UUID() | IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            return str(value)
        case Range():
            if value.isempty:
                return "empty"
            ends = ["" if end is None else str(end) for end in (value.lower, value.upper)]
            return f"{value.bounds[0]}{ends[0]},{ends[1]}{value.bounds[1]}"
        case Multirange():
            return "{" + ",".join(wire(each) for each in value) + "}"
        case list():
            return [wire(item) for item in value]
        case dict():
            return {name: wire(item) for name, item in value.items()}
        case _:
            raise AssertionError(f"psycopg gave {value!r}")
