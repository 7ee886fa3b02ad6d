"""Whatever is sent is understood or refused by one of our own errors: frames, topics, filters, tokens, rules."""

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aerostack_realtime.access.expressions import Expression, ExpressionError, Failed
from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.access.tokens import Tokens, secret_key
from aerostack_realtime.channels.tables.views import parse
from aerostack_realtime.database.postgres.types.types import BUILTINS, Types
from aerostack_realtime.database.postgres.wal import pgoutput
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, InvalidFilter, InvalidTopic
from tests.fuzz.words import commands, junk, mutated

TOKENS = Tokens(lambda: [secret_key("s" * 32)], lambda: 1_763_912_345)


@given(st.binary(max_size=300) | mutated(commands))
@example(b"[" * 100_000)
@example(b'{"type":"ping","type":"publish"}')
@example(b'{"type":"subscribe","topic":"a/b","filter":{"a":1e999}}')
@example(b'{"type":"publish","topic":"a/b","event":"\\ud800","data":null}')
def test_a_frame_is_a_command_or_refused_with_an_answer(frame: bytes) -> None:
    try:
        messages.decode_command(frame)
    except messages.InvalidCommand as refused:
        answer = messages.decode_reply(messages.encode(refused.reply))
        assert isinstance(answer, messages.Error)
        assert len(answer.message) < 1000


@given(st.text(max_size=300) | st.from_regex(r"[a-z/.@~+:_-]{0,40}", fullmatch=True))
def test_a_topic_has_one_canonical_form_or_none(written: str) -> None:
    try:
        canonical = topics.canonical(written, "P")
    except InvalidTopic:
        return
    assert topics.canonical(canonical, "P") == canonical
    assert canonical.endswith("/P")
    assert topics.table_of(canonical) is None or "/" not in str(topics.table_of(canonical))


@given(st.dictionaries(st.sampled_from(["id", "status", "nosuch", ""]), junk, max_size=5))
def test_a_filter_has_a_meaning_or_is_refused(filter: dict[str, Any]) -> None:
    try:
        conditions = parse(filter, ("id", "status"))
    except InvalidFilter:
        return
    hash(conditions)
    assert conditions == parse(dict(reversed(filter.items())), ("id", "status"))


@given(st.text(max_size=400) | st.from_regex(r"[\w-]{0,60}(\.[\w-]{0,60}){0,4}", fullmatch=True))
def test_no_text_is_a_token(written: str) -> None:
    with pytest.raises(AerostackError):
        TOKENS.check(written)


@given(
    st.text(max_size=100)
    | st.lists(
        st.sampled_from(
            ["user.id", "user.claims", ".x", "==", "&&", "'a'", "1", "(", ")", "[", "]", "!", "in", " "]
        ),
        max_size=12,
    ).map(" ".join)
)
def test_a_failing_expression_never_admits_anyone(source: str) -> None:
    try:
        expression = Expression(source, ["room"])
    except ExpressionError as refused:
        position = str(refused)
    else:
        position = ""
        users: list[dict[str, Any]] = [{"user.claims": {}}, {"user.id": "ann", "user.claims": {"x": [1]}}]
        for user in users:
            expression.group(user)
            with suppress(Failed):
                assert expression.holds({**user, "room": "r"}) in (True, False)
    assert position == "" or position.startswith("line ")


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_pattern_is_one_or_refused(written: str, topic: str) -> None:
    try:
        pattern = Pattern(written)
    except ValueError:
        return
    found = pattern.match(topic)
    assert found is None or set(found) == set(pattern.variables)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_origin_is_allowed_by_accident(origin: str, host: str) -> None:
    origins = Origins(["https://app.example.com", "https://*.example.org"], loopback=False)
    if origins.allows(origin, "") and origin not in ("https://app.example.com", "https://app.example.com/"):
        assert origin.lower().rstrip("/").endswith(".example.org")
    origins.allows(origin, host)
    origins.serves(host)


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_an_address_is_found_whatever_the_headers_say(peer: str, forwarded: list[str]) -> None:
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded)


def _numbers(size: int) -> st.SearchStrategy[bytes]:
    """Small and large ones, big-endian."""
    return (st.integers(0, 3) | st.integers(0, 256**size - 1)).map(lambda number: number.to_bytes(size, "big"))


pieces = st.sampled_from([*(bytes([kind]) for kind in b"BCORYIUDTMSEcANKOtnub"), b"name\0", b"\0"])
almost = st.lists(pieces | _numbers(2) | _numbers(4) | st.binary(max_size=4), max_size=16).map(b"".join)


@given(st.lists(almost | st.binary(max_size=60), max_size=4))
@example([b"S" + bytes(5), b"I" + bytes(8)])
@example([b"I" + bytes(4) + b"N\xff\xff" + b"n" * 65_535])
@example([b"T\xff\xff\xff\xff\0"])
def test_bytes_are_messages_of_the_log_or_refused_with_the_place(sent: list[bytes]) -> None:
    decoder = pgoutput.Decoder()
    for message in sent:
        try:
            decoder.decode(message)
        except pgoutput.MalformedMessage as refused:
            assert re.search(r"at byte \d+", str(refused))  # noqa: PT017 - both outcomes are right


scraps = st.lists(
    st.sampled_from([*'{}()[],;"\\= :-+.teEnNULL0129BC', "\\x", "infinity", "[0:1]=", "\\ud800"]), max_size=20
).map(lambda parts: "".join(parts).encode())


@given(st.sampled_from(sorted(BUILTINS)), scraps | st.binary(max_size=60))
@example(114, b"[" * 100_000)
@example(114, b"9" * 10_000)
@example(1009, b"{" * 100_000 + b"}" * 100_000)
def test_a_value_of_any_type_has_a_place_in_the_answer(oid: int, printed: bytes) -> None:
    row = Types().layout([("column", oid), ("other", 25)]).to_row((printed, b"kept"))
    assert list(row) == ["column", "other"]
    assert row["other"] == "kept"
    messages.encode(row)
