"""The settings of a server, from aerostack.toml and the environment."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.access import tokens
from aerostack_realtime.access.keys import MIN_KEY, Keys
from aerostack_realtime.access.rules import ChannelRule, RuleError, Rules, TableRule
from aerostack_realtime.access.tokens import Algorithm, TokenKey
from aerostack_realtime.database.postgres.database import PostgresSettings
from aerostack_realtime.gateway.limits.settings import UNLIMITED, Limits
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.tls import Certificate

DEV_SECRET_KEY: Final = "ac_secret_dev"
DEV_TOKEN_SECRET: Final = "aerostack-dev-token-secret-for-loopback-only"
"""Both are public: they are accepted by `aerostack dev` alone, which listens on loopback only."""

ANY_TABLE: Final = "*"

_AGE: Final = re.compile(r"\d{1,9}[smhd]")
_JWKS: Final = re.compile(r"https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/]")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(age: str) -> int:
    if not _AGE.fullmatch(age):
        raise ValueError(f"max_age is written like 30d, 12h, 90m or 45s; {age!r} is not")
    return int(age[:-1]) * _UNITS[age[-1]]


class SettingsError(Exception):
    """The settings cannot be used; the message says which one, and what to write instead."""


class RetentionRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages of topics like `pattern` (`chat/*`) are kept for `max_age` (`30d`, `12h`) and up to
    `max_count` a topic; the first rule that matches counts, and without one they are kept for good."""

    pattern: str
    max_age: str | None = None
    max_count: int | None = None

    def __post_init__(self) -> None:
        if self.max_age is not None:
            _seconds(self.max_age)
        if self.max_count is not None and self.max_count < 0:
            raise ValueError("max_count is 0 (keep none) or more")

    @property
    def max_age_seconds(self) -> float | None:
        return None if self.max_age is None else _seconds(self.max_age)


class LogRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Clients of topics like `pattern` (`chat/*`) resume from a log in memory of up to `max_count` events and
    `max_bytes`, none older than `max_age`; the first rule that matches counts, and without one these defaults."""

    pattern: str
    max_count: int = 1_000
    max_bytes: int = 1024 * 1024
    max_age: str = "2m"

    def __post_init__(self) -> None:
        if self.max_count < 0 or self.max_bytes < 0:
            raise ValueError("max_count and max_bytes of a log are 0 (keep nothing) or more")
        _seconds(self.max_age)

    @property
    def max_age_seconds(self) -> int:
        return _seconds(self.max_age)


class TokenKeyRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that checks users' tokens: `[[token_keys]]`. One of `secret`, `public_key` (a PEM, or the file
    that holds it) and `jwks` (the URL of a key set); the latter two need `algorithm`."""

    secret: str | None = None
    public_key: str | None = None
    jwks: str | None = None
    algorithm: Algorithm | None = None
    kid: str | None = None
    issuer: str | None = None
    audience: str | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.secret, self.public_key, self.jwks)) != 1:
            raise ValueError("a token key is one of secret, public_key and jwks")
        if self.secret is not None and self.algorithm not in (None, tokens.SECRET_ALGORITHM):
            raise ValueError(f"a secret is for {tokens.SECRET_ALGORITHM}; for others use public_key or jwks")
        if self.secret is None and self.algorithm in (None, tokens.SECRET_ALGORITHM):
            raise ValueError('public_key and jwks need algorithm = "RS256", "ES256" or "EdDSA"')
        if self.jwks is not None and not _JWKS.match(self.jwks):
            raise ValueError(f"jwks is an https URL; {self.jwks!r} is not")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a server can be told.

    `anonymous` lets clients in without a token. `log_bytes` is what the logs of all channels may have together;
    beyond, the oldest events give way. `open_access` and `loopback_origins` are what `aerostack dev` sets; a
    server for a network does not start with them.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    database: str = "aerostack.db"
    project: str = "default"
    secret_keys: tuple[str, ...] = ()
    publishable_keys: tuple[str, ...] = ()
    token_secret: str | None = None
    token_keys: tuple[TokenKeyRule, ...] = ()
    anonymous: bool = False
    open_access: bool = False
    origins: tuple[str, ...] = ()
    loopback_origins: bool = False
    query_credentials: bool = True
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    channels: tuple[ChannelRule, ...] = ()
    tables: tuple[TableRule, ...] = ()
    retention: tuple[RetentionRule, ...] = ()
    logs: tuple[LogRule, ...] = ()
    log_bytes: int = 256 * 1024 * 1024
    postgres: PostgresSettings = PostgresSettings()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("port is a number from 0 (a free one) to 65535")
        if self.log_bytes < 0:
            raise ValueError("log_bytes is 0 (no channel can be resumed) or more")


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
        open_access=True,
        loopback_origins=True,
        limits=UNLIMITED,
        channels=(ChannelRule("**", "anyone", "anyone", "anyone", "anyone"),),
        tables=(TableRule(ANY_TABLE, "anyone"),),
    )


def rules(settings: Settings) -> Rules:
    """The rules, compiled. Raises SettingsError."""
    try:
        return Rules(settings.channels, settings.tables)
    except RuleError as error:
        raise SettingsError(f"{error}.") from None


def fixed_token_keys(settings: Settings) -> list[TokenKey]:
    """The keys for tokens that are not fetched. Raises SettingsError."""
    found = []
    try:
        if settings.token_secret is not None:
            found.append(tokens.secret_key(settings.token_secret))
        for rule in settings.token_keys:
            if rule.secret is not None:
                found.append(
                    tokens.secret_key(rule.secret, kid=rule.kid, issuer=rule.issuer, audience=rule.audience)
                )
            elif rule.public_key is not None and rule.algorithm is not None:
                found.append(
                    tokens.public_key(
                        _pem(rule.public_key),
                        rule.algorithm,
                        kid=rule.kid,
                        issuer=rule.issuer,
                        audience=rule.audience,
                    )
                )
    except ValueError as error:
        raise SettingsError(f"token_secret and token_keys: {error}.") from None
    return found


def certificate(settings: Settings) -> Certificate | None:
    """The certificate to serve with, if there is one. Raises SettingsError."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise SettingsError("TLS needs both: tls_cert, the certificate chain, and tls_key, its key.")
    try:
        return Certificate(Path(settings.tls_cert), Path(settings.tls_key))
    except ValueError as error:
        raise SettingsError(f"TLS: {error}.") from None


def checks_tokens(settings: Settings) -> bool:
    return settings.token_secret is not None or bool(settings.token_keys)


def problems(settings: Settings) -> list[str]:
    """What keeps `aerostack serve` from starting with these settings, each with what to write."""
    found = [*_key_problems(settings), *_rule_problems(settings)]
    if not settings.anonymous and not checks_tokens(settings) and not settings.publishable_keys:
        found.append(
            "No client could connect: add token_secret or [[token_keys]] for users, or anonymous = true for"
            " everyone."
        )
    if settings.token_secret == DEV_TOKEN_SECRET:
        found.append("token_secret is the one of `aerostack dev`, which is public: make one of your own.")
    else:
        found += _said(lambda: fixed_token_keys(settings))
    try:
        Proxies(settings.trusted_proxies)
    except ValueError as error:
        found.append(f"trusted_proxies holds addresses and networks (10.0.0.0/8): {error}.")
    try:
        Origins(settings.origins, loopback=False)
    except ValueError as error:
        found.append(f"origins: {error}.")
    found += _said(lambda: certificate(settings))
    if settings.open_access or settings.loopback_origins:
        found.append("open_access and loopback_origins are for `aerostack dev`: take them out.")
    return found


def _key_problems(settings: Settings) -> list[str]:
    found = []
    if not settings.secret_keys:
        found.append('No secret key: add secret_keys = ["sha256:…"], made by `aerostack key`.')
    found += [
        f"A secret key has fewer than {MIN_KEY} characters or is the public one of dev: use `aerostack key`."
        for key in settings.secret_keys
        if len(key) < MIN_KEY or key == DEV_SECRET_KEY
    ]
    for keys in (settings.secret_keys, settings.publishable_keys):
        try:
            Keys(keys)
        except ValueError as error:
            found.append(str(error))
    if set(settings.secret_keys) & set(settings.publishable_keys):
        found.append("A key is both secret and publishable: whoever has the app would have the server.")
    return found


def _rule_problems(settings: Settings) -> list[str]:
    if not settings.channels and not settings.tables:
        return [
            "No rules, so that nobody could do anything: add for example\n"
            '    [[channels]]\n    topic = "chat/{room}"\n    subscribe = "authenticated"\n'
            '    publish = "authenticated"\n'
            '    [[tables]]\n    name = "orders"\n    rows = { user_id = "user.id" }\n'
            "  docs/guides/access.md tells the rest."
        ]
    found = _said(lambda: rules(settings))
    if any(rule.name == ANY_TABLE for rule in settings.tables):
        found.append('[[tables]] name = "*" shows every table there ever will be: name each one instead.')
    return found


def _said(make: Callable[[], object]) -> list[str]:
    try:
        make()
    except SettingsError as error:
        return [str(error)]
    return []


def _pem(written: str) -> str:
    if "-----BEGIN" in written:
        return written
    try:
        return Path(written).read_text()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"cannot read the public key in {written}") from None


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
