"""Topics: what a user writes, and the one canonical form that stands on the wire (docs/protocol.md §1)."""

import re
from functools import lru_cache
from typing import Final

from aerostack_realtime.protocol.errors import InvalidTopic

MAX_BYTES: Final = 256
TABLE: Final = "table"
_TABLE_BEGINNING: Final = f"{TABLE}/"
CONSOLE: Final = "_console"
"""The reserved project whose topics carry what the console shows; no setting can name it."""
CONSOLE_END: Final = f"/{CONSOLE}"
REMEMBERED: Final = 16_384
"""Topics whose parsing is remembered: it is 2 µs of the 10 that a publish costs, and topics repeat."""

_SEGMENTS = re.compile(r"[A-Za-z0-9_\-.:@~+]+(?:/[A-Za-z0-9_\-.:@~+]+)*")
_ALLOWED = "segments of A-Z a-z 0-9 _ - . : @ ~ + separated by single slashes"


@lru_cache(REMEMBERED)
def canonical(topic: str, project: str) -> str:
    """The canonical form of `topic`, which may be written bare, without the project, or canonical already.

    `orders` and `table/orders` become `table/orders/P`, `chat/general` becomes `chat/general/P`. A topic of
    three or more segments whose last is the project is canonical already; one of two is not, since the
    shortest canonical topic has three. A trailing `/` is an empty project, which means this one.

    Raises InvalidTopic.
    """
    if len(topic) > MAX_BYTES + len(TABLE) + 2 + len(project):
        raise _too_long(topic)
    named = topic.removesuffix("/")
    if not _SEGMENTS.fullmatch(named):
        raise InvalidTopic(f"A topic is made of {_ALLOWED}; {topic[:80]!r} is not.")
    segments = named.split("/")
    if len(segments) >= 3 and segments[-1] == project:
        segments.pop()
    if len(segments) == 2 and segments[0] == TABLE:
        del segments[0]
    if segments[0] == TABLE and len(segments) > 1:
        raise InvalidTopic(f"A table topic is written 'orders' or 'table/orders'; {topic[:80]!r} is neither.")
    written = "/".join(segments)
    if len(written) > MAX_BYTES:
        raise _too_long(written)
    return f"{TABLE}/{written}/{project}" if len(segments) == 1 else f"{written}/{project}"


def _too_long(topic: str) -> InvalidTopic:
    return InvalidTopic(f"A topic is 1 to {MAX_BYTES} bytes long; this one has {len(topic.encode())}.")


def without_project(canonical_topic: str) -> str:
    """A canonical topic as rules and settings write it: `chat/general/P` is `chat/general`."""
    return canonical_topic.rpartition("/")[0]


def project_of(canonical_topic: str) -> str:
    """The project that a canonical topic ends with: `P` of `chat/general/P`."""
    return canonical_topic.rpartition("/")[2]


def is_console(canonical_topic: str) -> bool:
    """Whether a canonical topic is one of the console's own."""
    return canonical_topic.endswith(CONSOLE_END)


def is_table(canonical_topic: str) -> bool:
    """Whether a canonical topic carries the row changes of a table."""
    return canonical_topic.startswith(_TABLE_BEGINNING)


@lru_cache(REMEMBERED)
def table_of(canonical_topic: str) -> str | None:
    """The table whose row changes a canonical topic carries, or None for a custom channel."""
    segments = canonical_topic.split("/")
    return segments[1] if len(segments) == 3 and segments[0] == TABLE else None


def like(pattern: str) -> re.Pattern[str]:
    """An expression for the topics, without their project, that a pattern of the settings means. `*` stands for
    any characters."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
