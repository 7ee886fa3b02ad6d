"""What a user may import: a name that goes away is a breaking change."""

import importlib

import aerostack_realtime
from aerostack_realtime.protocol import errors


def test_the_public_names() -> None:
    assert aerostack_realtime.__all__ == [
        "Ack",
        "Aerostack",
        "AerostackError",
        "Channel",
        "HistoryMessage",
        "Payload",
        "PresentMember",
        "QueryResult",
        "RealtimeClient",
        "RowChange",
        "Table",
    ]
    assert all(hasattr(aerostack_realtime, name) for name in aerostack_realtime.__all__)
    assert hasattr(importlib.import_module("aerostack_realtime.blocking"), "Aerostack")


def test_every_code_of_the_protocol_has_its_error() -> None:
    assert set(errors.ERRORS) == {
        "bad_message", "unknown_type", "invalid_topic", "invalid_filter", "too_large",
        "unauthorized", "forbidden", "token_expired", "not_found",
        "rate_limited", "overloaded", "unavailable", "internal",
    }  # fmt: skip
    assert {code for code, error in errors.ERRORS.items() if error.retryable} == {
        "rate_limited",
        "overloaded",
        "unavailable",
    }
