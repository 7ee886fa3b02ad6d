"""The settings of a server. Only the server and the command line read them."""

from aerostack_realtime.config.development import DEV_SECRET_KEY, DEV_TOKEN_SECRET, development, is_loopback
from aerostack_realtime.config.loading import FILE, Loaded, find, load, read
from aerostack_realtime.config.mistakes import SettingsError
from aerostack_realtime.config.settings import ANY_TABLE, LogRule, RetentionRule, Settings, TokenKeyRule
from aerostack_realtime.config.validation import (
    certificate,
    check_backplane,
    check_documents,
    check_ports,
    check_tracing,
    checks_tokens,
    fixed_token_keys,
    problems,
    rules,
    unwritable_audit_file,
)

__all__ = [
    "ANY_TABLE",
    "DEV_SECRET_KEY",
    "DEV_TOKEN_SECRET",
    "FILE",
    "Loaded",
    "LogRule",
    "RetentionRule",
    "Settings",
    "SettingsError",
    "TokenKeyRule",
    "certificate",
    "check_backplane",
    "check_documents",
    "check_ports",
    "check_tracing",
    "checks_tokens",
    "development",
    "find",
    "fixed_token_keys",
    "is_loopback",
    "load",
    "problems",
    "read",
    "rules",
    "unwritable_audit_file",
]
