"""What is sent at random: commands as the protocol has them, with anything in their fields, then mutated."""

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
