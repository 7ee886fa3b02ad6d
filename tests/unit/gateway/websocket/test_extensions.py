"""Offers of permessage-deflate, and what each is answered (RFC 7692 §7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.gateway.websocket.extensions import accept

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",  # browsers
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=8",
        'permessage-deflate; client_max_window_bits="10"',
        "permessage-deflate;client_no_context_takeover;server_no_context_takeover",
        "permessage-deflate ; server_no_context_takeover ; client_max_window_bits",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-bzip2; level=9, , permessage-deflate,",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
        "permessage-deflate; mode=fast, permessage-deflate; client_max_window_bits",
    ],
)
def test_an_offer_is_accepted_without_context_takeover(offer: str) -> None:
    assert accept([offer]) == PLAIN


@pytest.mark.parametrize("bits", [12, 13, 14, 15])
def test_a_window_that_suffices_is_confirmed(bits: int) -> None:
    answer = f"{PLAIN}; server_max_window_bits={bits}"
    assert accept([f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits"]) == answer
    assert accept([f'permessage-deflate; server_max_window_bits="{bits}"']) == answer


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-bzip2",
        "permessage-deflates",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=11",  # its memory is too small for our window
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate permessage-deflate",
        "permessage-deflate; =1",
        'permessage-deflate; client_max_window_bits="10',
    ],
)
def test_an_offer_that_cannot_be_kept_is_declined(offer: str) -> None:
    assert accept([offer]) is None


def test_the_first_suitable_offer_of_several_headers_is_accepted() -> None:
    offers = ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=13", "permessage-deflate"]
    assert accept(offers) == f"{PLAIN}; server_max_window_bits=13"
    assert accept([]) is None


@given(st.text(alphabet='permsage-dflt;,= "x15_windobkcv', max_size=200))
def test_any_header_is_answered_or_declined(header: str) -> None:
    answer = accept([header])
    assert answer is None or answer.startswith(PLAIN)


def test_a_hostile_header_costs_no_more_than_its_length() -> None:
    for part in (";a=b", "; a", ";a =", ', x;y="z"', " ", ",", " ; a = b "):
        assert accept([f"permessage-inflate{part * 100_000}!\x00"]) is None
