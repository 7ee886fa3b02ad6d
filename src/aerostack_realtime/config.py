"""The settings of a server, from aerostack.toml and the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.gateway.limits import Limits

DEV_SECRET_KEY: Final = "ac_secret_dev"
DEV_TOKEN_SECRET: Final = "aerostack-dev-token-secret-for-loopback-only"
"""Both are public: they are accepted by `aerostack dev` alone, which listens on loopback only."""
MIN_TOKEN_SECRET: Final = 32  # RFC 7518 §3.2: a key of the hash's size for HS256

_AGE: Final = re.compile(r"\d{1,9}[smhd]")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsError(Exception):
    """The settings cannot be used; the message says which one, and what to write instead."""


class RetentionRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages of topics like `pattern` (`chat/*`) are kept for `max_age` (`30d`, `12h`) and up to
    `max_count` a topic; the first rule that matches counts, and without one they are kept for good."""

    pattern: str
    max_age: str | None = None
    max_count: int | None = None

    def __post_init__(self) -> None:
        if self.max_age is not None and not _AGE.fullmatch(self.max_age):
            raise ValueError(f"max_age is written like 30d, 12h, 90m or 45s; {self.max_age!r} is not")

    @property
    def max_age_seconds(self) -> float | None:
        return None if self.max_age is None else int(self.max_age[:-1]) * _UNITS[self.max_age[-1]]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a server can be told. `anonymous` lets clients in without credentials."""

    host: str = "127.0.0.1"
    port: int = 8787
    database: str = "aerostack.db"
    project: str = "default"
    secret_keys: tuple[str, ...] = ()
    publishable_keys: tuple[str, ...] = ()
    token_secret: str | None = None
    anonymous: bool = False
    origins: tuple[str, ...] = ()
    loopback_origins: bool = False
    query_credentials: bool = True
    retention: tuple[RetentionRule, ...] = ()
    limits: Limits = Limits()


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file, overridden by `AEROSTACK_*`. Raises SettingsError."""
    content: dict[str, Any] = {}
    if path is not None:
        try:
            content = msgspec.toml.decode(path.read_bytes())
        except OSError as missing:
            raise SettingsError(f"Cannot read the settings in {path}: {missing.strerror}.") from None
        except msgspec.DecodeError as malformed:
            raise SettingsError(f"{path} is not TOML: {malformed}.") from None
    content |= _overrides(environment)
    try:
        return msgspec.convert(content, Settings)
    except msgspec.ValidationError as invalid:
        raise SettingsError(f"{path or 'The environment'}: {invalid}.") from None


def development(settings: Settings, environment: Mapping[str, str] = os.environ) -> Settings:
    """The same settings opened up for `aerostack dev`."""
    return replace(
        settings,
        secret_keys=settings.secret_keys or (environment.get("AEROSTACK_SECRET_KEY") or DEV_SECRET_KEY,),
        token_secret=settings.token_secret or DEV_TOKEN_SECRET,
        anonymous=True,
        loopback_origins=True,
    )


def problems(settings: Settings) -> list[str]:
    """What keeps `aerostack serve` from starting with these settings, each with what to write."""
    found = []
    if not settings.secret_keys:
        found.append('No secret key: add secret_keys = ["…"], made by `openssl rand -hex 24`.')
    found += [
        "A secret key is shorter than 16 characters: make one by `openssl rand -hex 24`."
        for key in settings.secret_keys
        if len(key) < 16 or key == DEV_SECRET_KEY
    ]
    if not settings.anonymous and settings.token_secret is None and not settings.publishable_keys:
        found.append(
            "No client could connect: add token_secret for users, publishable_keys for apps, or"
            " anonymous = true for everyone."
        )
    if settings.token_secret is not None and len(settings.token_secret) < MIN_TOKEN_SECRET:
        found.append(
            f"token_secret has fewer than {MIN_TOKEN_SECRET} characters: make one by `openssl rand -hex 32`."
        )
    if settings.token_secret == DEV_TOKEN_SECRET:
        found.append("token_secret is the one of `aerostack dev`, which is public: make one of your own.")
    return found


def _overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    """`AEROSTACK_SECRET_KEY` and `AEROSTACK_PUBLISHABLE_KEY` may hold several, separated by commas."""
    found: dict[str, Any] = {}
    for name in ("host", "database", "project", "token_secret"):
        value = environment.get(f"AEROSTACK_{name.upper()}")
        if value:
            found[name] = value
    if port := environment.get("AEROSTACK_PORT"):
        if not port.isdecimal():
            raise SettingsError(f"AEROSTACK_PORT is a number; {port!r} is not.")
        found["port"] = int(port)
    for name in ("secret_key", "publishable_key", "origin"):
        value = environment.get(f"AEROSTACK_{name.upper()}")
        if value:
            found[f"{name}s"] = [each.strip() for each in value.split(",") if each.strip()]
    if (anonymous := environment.get("AEROSTACK_ANONYMOUS")) is not None:
        found["anonymous"] = anonymous.lower() in ("1", "true", "yes")
    return found
