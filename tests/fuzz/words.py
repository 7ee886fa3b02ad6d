"""What is sent at random: commands, frames and requests as the protocols have them, with anything in their fields,
then mutated."""

import json
from typing import Any

from hypothesis import strategies as st

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
topic = st.sampled_from(["a/b", "chat/general", "orders", "table/orders", "orders/default", "", "a//b", "x" * 300])
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "topic": topic | junk,
    "id": st.text(max_size=8) | junk,
    "filter": st.dictionaries(st.sampled_from(["id", "status", "x"]), junk, max_size=3) | junk,
    "since": st.sampled_from(["", "x.1", "x.-1", ".", "9" * 40]) | junk,
    "snapshot": st.booleans()
    | st.fixed_dictionaries({"limit": st.integers(-1, 5), "order": st.text(max_size=5)})
    | junk,
    "presence": st.booleans() | junk,
    "event": st.sampled_from(["e", "presence:join", ""]) | junk,
    "data": junk,
    "persist": st.booleans() | junk,
    "echo": st.booleans() | junk,
    "state": st.dictionaries(st.sampled_from(["userId", "at"]), junk, max_size=2) | junk,
    "token": st.text(max_size=20) | junk,
    "roomId": st.sampled_from(["general", "a/b", ""]) | junk,
    "text": st.text(max_size=20) | junk,
    "metadata": junk,
}
_TYPES = ("subscribe", "unsubscribe", "publish", "track", "untrack", "presence", "auth", "chat", "ping", "nosuch")
commands = st.builds(
    lambda type, fields: {"type": type, **fields},
    st.sampled_from(_TYPES),
    st.fixed_dictionaries({}, optional=_FIELDS),
)


def mutated(of: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Their JSON, some of it with bytes cut out or replaced."""

    def mutate(command: dict[str, Any], at: int, cut: int, with_: bytes) -> bytes:
        text = json.dumps(command).encode()
        at %= len(text) + 1
        return text[:at] + with_ + text[at + cut :]

    plain = of.map(lambda command: json.dumps(command).encode())
    return plain | st.builds(mutate, of, st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3))


def _frame(first: int, masked: bool, claimed: int, payload: bytes) -> bytes:
    """A frame whose length is what it is, or with `claimed` below 126 anything else."""
    size = len(payload) if claimed > 127 else claimed
    return bytes([first, (0x80 if masked else 0) | min(size, 127)]) + (b"\0\0\0\0" if masked else b"") + payload


framed = st.lists(
    st.builds(
        _frame,
        st.sampled_from([0x81, 0x81, 0x01, 0x00, 0x80, 0x82, 0x89, 0x8A, 0x88]) | st.integers(0, 255),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([200, 200, 200]) | st.integers(0, 127),
        st.sampled_from([b'{"type":"ping"}', b"", b"\x03\xe8"]) | st.binary(max_size=125),
    ),
    max_size=8,
).map(b"".join)
"""Frames of a WebSocket, most of them in order."""

_PATHS = (
    b"/api/realtime",
    b"/healthz",
    b"/api/v1/public/realtime/history?room=",
    b"/openapi.json",
    b"/v1/db/query",
    b"*",
)
_HEADERS = (
    b"Host",
    b"Upgrade",
    b"Connection",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Authorization",
    b"Origin",
)
_VALUES = (b"x", b"websocket", b"Upgrade", b"0", b"10", b"-1", b"chunked", b"Bearer a.b.c", b"http://evil", b"")
heads = st.builds(
    lambda method, path, extra, headers: (
        b"%s %s%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
        % (
            method,
            path,
            extra,
            b"".join(b"%s: %s\r\n" % header for header in headers),
        )
    ),
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"\xff"]),
    st.sampled_from(_PATHS),
    st.binary(max_size=20),
    st.lists(st.tuples(st.sampled_from(_HEADERS), st.sampled_from(_VALUES) | st.binary(max_size=20)), max_size=5),
)
"""Requests as they might be, with bytes in them that might not."""
