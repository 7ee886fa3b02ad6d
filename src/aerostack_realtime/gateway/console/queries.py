"""What a page of the console asks for, as the topic of the reserved project that carries its data.

`view/connections/eyJzZWFyY2giOiJhbm4ifQ/_console` is the view `connections` with the query in base64url; the
views of one channel and of one connection carry its topic or id as it is: `view/channel/chat/1/_console`.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import BadMessage

View = Literal["overview", "channels", "channel", "connections", "connection", "tables", "streams", "rules", "log"]
VIEWS: Final[tuple[View, ...]] = get_args(View)
OF_ONE: Final = ("channel", "connection")
"""The views whose query is the name of one thing."""
LARGEST_PAGE: Final = 200


class Query(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a view: its rows from `offset` on that contain `search`. `name` is the topic of a channel or the
    id of a connection, `kind` one of the logs."""

    view: View
    search: Annotated[str, Meta(max_length=100)] = ""
    order: Literal["", "waiting"] = ""
    kind: Literal["audit", "server"] = "audit"
    name: str = ""
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 50


def parse(topic: str) -> Query:
    """The query of a topic, without its project. Raises BadMessage."""
    prefix, _, rest = topic.partition("/")
    view, _, written = rest.partition("/")
    if prefix != "view" or view not in VIEWS:
        raise BadMessage(f"The console has the views {', '.join(VIEWS)}; {topic[:80]!r} is none of them.")
    if view in OF_ONE:
        return msgspec.convert({"view": view, "name": written}, Query)
    try:
        given = msgspec.json.decode(urlsafe_b64decode(written + "=" * (-len(written) % 4)) or b"{}", type=dict)
        return msgspec.convert({**given, "view": view}, Query)
    except (binascii.Error, UnicodeError, ValueError) as malformed:
        raise BadMessage(f"The query of the view {view} cannot be read: {malformed}") from None


def topic_of(query: Query) -> str:
    """The topic of a query, without its project."""
    if query.view in OF_ONE:
        return f"view/{query.view}/{query.name}"
    given = msgspec.to_builtins(query)
    del given["view"]
    written = urlsafe_b64encode(msgspec.json.encode(given)).decode().rstrip("=") if given else ""
    return f"view/{query.view}/{written}".rstrip("/")


def query_of(canonical_topic: str) -> Query:
    """The query of a canonical topic of the console's project. Raises BadMessage."""
    return parse(topics.without_project(canonical_topic))
