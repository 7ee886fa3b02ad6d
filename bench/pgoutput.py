"""What a row from PostgreSQL costs on the event loop: `python -m bench.pgoutput` prints µs of CPU each.

The messages are made by hand as the server sends them: no server, no socket, decoding and conversion alone.
A row has six columns. The best of five rounds counts, as in bench.hotpath.
"""

import struct

from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.wal.pgoutput import Decoder, Insert
from bench.hotpath import cost
from bench.report import table

ROW = (b"4711", b"ann", b"open", b"19.90", b"2026-11-25 07:00:00.123456+00", None)
OLD = (b"4711", b"ann", b"new", b"19.90", b"2026-11-25 07:00:00.123456+00", None)


def values(row: tuple[bytes | None, ...]) -> bytes:
    """A row as in a message."""
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in row]
    return struct.pack(">H", len(row)) + b"".join(parts)


def steps() -> list[tuple[str, float]]:
    relation = struct.pack(">I", 16_385)
    insert = b"I" + relation + b"N" + values(ROW)
    update = b"U" + relation + b"O" + values(OLD) + b"N" + values(ROW)
    wire = memoryview(b"w" + bytes(24) + insert)
    begin = b"B" + bytes(20)
    decode = Decoder().decode
    columns = ("id", 20), ("name", 25), ("status", 25), ("total", 1700), ("at", 1184), ("note", 25)
    to_row = Types().layout(columns).to_row
    row = decode(insert)
    assert isinstance(row, Insert)
    types = Types()
    document = types.converter(3802)
    numbers = types.converter(1007)
    return [
        ("BEGIN", cost(lambda: decode(begin))),
        ("INSERT", cost(lambda: decode(insert))),
        ("INSERT, behind the header of its copy-data message", cost(lambda: decode(wire[25:]))),
        ("UPDATE with its old row", cost(lambda: decode(update))),
        ("its row as the wire's: bigint, text, text, numeric, timestamptz, NULL", cost(lambda: to_row(row.new))),
        ("a jsonb of four values", cost(lambda: document(b'{"a": 1, "b": [true, "x"], "c": null, "d": 2.5}'))),
        ("a jsonb with an integer beyond 2^53", cost(lambda: document(b'{"a": 12345678901234567890, "b": "x"}'))),
        ("an int[] of six", cost(lambda: numbers(b"{1,2,3,4,NULL,6}"))),
    ]


if __name__ == "__main__":
    print(table(["step", "µs"], [[name, f"{each:.2f}"] for name, each in steps()]))
