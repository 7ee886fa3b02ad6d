"""How log lines look: text for people, or JSON for machines; one line for each fact."""

import logging
import traceback
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any, Final

import msgspec

from aerostack_realtime.config.log_settings import LogSettings
from aerostack_realtime.gateway import audit

_ROOT: Final = "aerostack_realtime"


class TextFormatter(logging.Formatter):
    """`2026-03-01T09:30:00.123Z info gateway.audit: …`. A line break within a message is written as `\\n`, so that
    no message can look like two; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower()} {_part(record)}: {_message(record)}"
        return line if record.exc_info is None else f"{line}\n{_traceback(record)}"


class JsonFormatter(logging.Formatter):
    """One object per line: `time`, `level`, `part` and `message`, or the facts of an audit record in its place;
    `traceback` for an unexpected error."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), "part": _part(record)}
        facts = getattr(record, audit.FACTS, None)
        found |= {"message": record.getMessage()} if facts is None else facts
        if record.exc_info is not None:
            found["traceback"] = _traceback(record)
        return msgspec.json.encode(found).decode()


def configure(settings: LogSettings) -> None:
    """Write logs as the settings say. Raises OSError when the audit file cannot be opened."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler])
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # our own log reports it once
    for name, level in settings.levels.items():
        logging.getLogger(name).setLevel(level.upper())
    audit.log.setLevel(logging.INFO)  # a complete record, whatever else is written
    if settings.audit_file is not None:
        own = WatchedFileHandler(settings.audit_file, encoding="utf-8")
        own.setFormatter(JsonFormatter())
        audit.log.addHandler(own)
        audit.log.propagate = False


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _part(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{_ROOT}.")


def _message(record: logging.LogRecord) -> str:
    return record.getMessage().replace("\r", "\\r").replace("\n", "\\n")


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info is not None, "the record has an exception"
    return "".join(traceback.format_exception(*record.exc_info)).rstrip()
