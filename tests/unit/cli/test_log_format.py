"""What one log line looks like."""

import json
import logging
import sys

from aerostack_realtime.cli.log_format import JsonFormatter, TextFormatter


def record(message: str, *values: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("aerostack_realtime.gateway.x", logging.WARNING, "x.py", 1, message, values, None)
    made.created = 1_700_000_000.25
    for name, value in extra.items():
        setattr(made, name, value)
    return made


def test_a_text_line_names_time_level_and_part() -> None:
    line = TextFormatter().format(record("left %s", "Redis"))
    assert line == "2023-11-14T22:13:20.250Z warning gateway.x: left Redis"


def test_a_line_break_in_a_message_does_not_begin_a_line() -> None:
    line = TextFormatter().format(record("refused %s", "a\r\n2026 info audit: forged"))
    assert line.splitlines() == [line]


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(record("two\nlines"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "part": "gateway.x",
        "message": "two\nlines",
    }
    assert "\n" not in line


def test_audit_facts_are_members_of_the_object() -> None:
    found = json.loads(JsonFormatter().format(record("…", facts={"audit": "closed", "connection": "c1"})))
    assert (found["audit"], found["connection"]) == ("closed", "c1")
    assert "message" not in found


def test_an_unexpected_error_keeps_its_traceback() -> None:
    made = record("internal error")
    try:
        raise RuntimeError("unexpected")
    except RuntimeError:
        made.exc_info = sys.exc_info()
    assert "RuntimeError: unexpected" in json.loads(JsonFormatter().format(made))["traceback"]
    assert "RuntimeError: unexpected" in TextFormatter().format(made)
