"""The frames that are put together from parts are those that the encoder makes."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.event_frames import (
    ack_frame,
    ack_frame_in_python,
    ending,
    is_plain,
    published_frame,
    published_frame_in_python,
    template,
)

NAMES = st.one_of(st.sampled_from(['null,"timestamp":0,"id":"","cursor":""', "a/b", '"\\']), st.text(min_size=1))


IDS = st.text("".join(each for each in map(chr, range(32, 127)) if each not in '"\\\\'), min_size=1, max_size=256)
"""Those that need no escapes in JSON."""


@given(
    topic=NAMES,
    event=NAMES,
    user_id=st.one_of(st.none(), NAMES),
    size=st.sampled_from([0, 1, 20, 126, 300, 65_300, 65_536, 70_000]),
    timestamp=st.integers(0, 2**53),
    position=st.integers(0, 2**63 - 1),
    epoch=st.text("0123456789abcdef.-", min_size=1, max_size=128),
    id=st.none() | IDS,
)
def test_the_frame_is_the_encoder_s(
    topic: str,
    event: str,
    user_id: str | None,
    size: int,
    timestamp: int,
    position: int,
    epoch: str,
    id: str | None,
) -> None:
    data = b'"' + b"x" * size + b'"'
    user = UNSET if user_id is None else user_id
    whole = messages.Event(topic, event, Raw(data), timestamp, id or f"{position:x}", f"{epoch}.{position}", user)
    kept = template(topic, event, user_id)
    for made in (published_frame, published_frame_in_python):
        assert made(kept.begin, data, timestamp, position, epoch, kept.end, id) == frames.encode(whole)
        own = template(topic, event, None).begin, ending(user_id)
        assert made(own[0], data, timestamp, position, epoch, own[1], id) == frames.encode(whole)


@given(id=st.text(max_size=300) | IDS)
def test_an_id_is_plain_if_it_needs_no_escapes(id: str) -> None:
    whole = frames.encode(messages.Ack(id, "e.1", 1))
    if is_plain(id):
        assert ack_frame(id, 1, 1, "e") == whole
    else:
        assert not id or len(id) > 256 or ack_frame_in_python(id, 1, 1, "e") != whole or not id.isascii()


@given(
    id=IDS,
    timestamp=st.integers(0, 2**53),
    position=st.integers(0, 2**63 - 1),
    epoch=st.text("0123456789abcdef.-", min_size=1, max_size=128),
)
def test_the_acknowledgement_is_the_encoder_s(id: str, timestamp: int, position: int, epoch: str) -> None:
    whole = frames.encode(messages.Ack(id, f"{epoch}.{position}", timestamp))
    for made in (ack_frame, ack_frame_in_python):
        assert made(id, timestamp, position, epoch) == whole
