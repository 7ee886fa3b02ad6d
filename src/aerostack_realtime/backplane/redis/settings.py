"""How a node uses the Redis of its journal."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class RedisSettings(Struct, frozen=True):
    """`name` tells the journals on one Redis apart. `max_waiting` bounds what a node accepted and has not read
    back yet, `max_log` what Redis holds, both in bytes. `start_seconds`: how long `start` tries to connect, or to
    read the next part of the log. `kept_seconds`: the newest part of the log is never trimmed, because a node that
    joins, or was away for a moment, must find it."""

    name: str = "default"
    max_waiting: int = 16 * 1024 * 1024
    max_log: int = 512 * 1024 * 1024
    start_seconds: float = 10.0
    kept_seconds: float = 30.0


DEFAULTS: Final = RedisSettings()
