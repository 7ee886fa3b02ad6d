"""Commands: what is decoded, and how everything else is refused."""

import msgspec
import pytest

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.messages import InvalidCommand, Publish, decode_command, decode_reply, encode


def refusal(frame: bytes) -> messages.Error:
    with pytest.raises(InvalidCommand) as refused:
        decode_command(frame)
    return refused.value.reply


def test_a_payload_passes_through_unparsed() -> None:
    command = decode_command(b'{"type":"publish","topic":"a/b","event":"x","data":{"n": 1e3 , "s":"\\u00fc"}}')
    assert isinstance(command, Publish)
    assert bytes(command.data) == b'{"n": 1e3 , "s":"\\u00fc"}'


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "bad_message"),
        (b"{", "bad_message"),
        (b"[]", "bad_message"),
        (b"null", "bad_message"),
        (b'{"topic":"a/b"}', "bad_message"),
        (b'{"type":7}', "bad_message"),
        (b'{"type":"publish","topic":"a/b"}', "bad_message"),
        (b'{"type":"publish","topic":5,"event":"x"}', "bad_message"),
        (b'{"type":"track","topic":"a/b","state":[]}', "bad_message"),
        (b'{"type":"publish","topic":"a/b","event":"x","data":"\xff"}', "bad_message"),
        (b'{"type":"publish","topic":"a/b","event":"x","data":NaN}', "bad_message"),
        (b'{"type":"publish","topic":"a/b","event":"x","data":"a\nb"}', "bad_message"),
        (
            b'{"type":"publish","topic":"a/b","event":"x","data":' + b"[" * 1000 + b"]" * 1000 + b"}",
            "bad_message",
        ),
        (b'{"type":"fly"}', "unknown_type"),
        (b'{"type":"event"}', "unknown_type"),
    ],
)
def test_invalid_commands_are_refused_with_their_code(frame: bytes, code: str) -> None:
    assert refusal(frame).code == code


def test_a_refusal_names_the_id_and_topic_it_answers() -> None:
    reply = refusal(b'{"type":"publish","topic":"a/b","id":"7"}')
    assert (reply.topic, reply.id) == ("a/b", "7")


def test_unknown_fields_are_ignored() -> None:
    assert decode_command(b'{"type":"ping","later":{"x":1}}') == messages.Ping()


def test_a_null_recovered_is_sent_and_an_absent_id_is_not() -> None:
    frame = encode(messages.Subscribed("a/b/P", "e.1", None))
    assert msgspec.json.decode(frame) == {
        "type": "subscribed",
        "topic": "a/b/P",
        "cursor": "e.1",
        "recovered": None,
    }


def test_a_client_skips_a_reply_of_a_type_it_does_not_know() -> None:
    assert decode_reply(b'{"type":"confetti","n":1}') is None
    assert decode_reply(b'{"type":"pong"}') == messages.Pong()
