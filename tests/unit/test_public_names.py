"""The names that a user may rely on: removing one is a breaking change."""

import importlib
from collections.abc import Mapping

import pytest

import aerostack_realtime
from aerostack_realtime import Aerostack, Channel, Document, LiveTable, RealtimeClient, blocking
from aerostack_realtime.protocol import errors


def public(value: object) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


def test_the_exported_names() -> None:
    assert aerostack_realtime.__all__ == [
        "Ack",
        "Aerostack",
        "AerostackError",
        "Channel",
        "Document",
        "Explanation",
        "HistoryMessage",
        "LiveTable",
        "Payload",
        "PresentMember",
        "QueryResult",
        "ReadStream",
        "RealtimeClient",
        "RowChange",
        "WriteStream",
        "__version__",
    ]
    assert all(hasattr(aerostack_realtime, name) for name in aerostack_realtime.__all__)
    assert hasattr(importlib.import_module("aerostack_realtime.blocking"), "Aerostack")


async def test_the_names_of_each_object() -> None:
    sdk = Aerostack("http://127.0.0.1:9")
    assert public(sdk) == {
        "close", "db", "disconnect", "document", "explain", "history", "presence", "realtime", "revoke", "socket",
    }  # fmt: skip
    assert public(sdk.socket) == {"emit"}
    assert public(sdk.db) == {"query", "batch"}
    assert public(sdk.realtime) == {
        "channel", "connect", "disconnect", "history", "on_error", "on_status_change", "set_token", "status",
        "table",
    }  # fmt: skip
    assert public(sdk.realtime.channel("chat/general")) == {
        "cancel", "cursor", "get_history", "off", "on", "pipe", "presence", "publish", "stream", "subscribe",
        "subscribed", "topic", "track", "unsubscribe", "untrack",
    }  # fmt: skip
    assert public(sdk.realtime.table("orders")) - public(Mapping) == {"cursor", "on_change"}
    assert public(blocking.Aerostack("http://127.0.0.1:9")) == {
        "close", "db", "document", "history", "listen", "pipe", "publish", "run", "socket", "stream",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [Aerostack, Channel, Document, LiveTable, RealtimeClient, blocking.Aerostack])
def test_every_public_method_has_a_docstring(kind: type) -> None:
    own = public(kind) - public(Mapping)
    assert [name for name in sorted(own) if not getattr(kind, name).__doc__] == []


def test_every_code_of_the_protocol_has_its_error() -> None:
    assert set(errors.ERRORS) == {
        "bad_message", "unknown_type", "invalid_topic", "invalid_filter", "too_large",
        "unauthorized", "forbidden", "token_expired", "not_found",
        "conflict", "cancelled", "out_of_step", "rate_limited", "overloaded", "unavailable", "internal",
    }  # fmt: skip
    assert {code for code, error in errors.ERRORS.items() if error.retryable} == {
        "rate_limited",
        "overloaded",
        "unavailable",
    }
