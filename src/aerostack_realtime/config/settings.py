"""The settings of a server. The docstring of a field is its description wherever settings are shown."""

import re
from typing import Final, Literal

from msgspec import Struct

from aerostack_realtime.access import tokens
from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.access.tokens import Algorithm
from aerostack_realtime.config.console_settings import ConsoleSettings
from aerostack_realtime.config.log_settings import LogSettings
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.protocol.topics import CONSOLE

ANY_TABLE: Final = "*"

_AGE: Final = re.compile(r"\d{1,9}[smhd]")
_JWKS: Final = re.compile(r"https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/]")
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_PROJECT: Final = re.compile(r"[a-zA-Z0-9_\-.:@~+]{1,64}")
MIN_BACKPLANE_BYTES: Final = 1024 * 1024
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(age: str) -> int:
    if not _AGE.fullmatch(age):
        raise ValueError(f"max_age is written like 30d, 12h, 90m or 45s, not {age!r}")
    return int(age[:-1]) * _UNITS[age[-1]]


class RetentionRule(Struct, frozen=True, forbid_unknown_fields=True):
    """How long stored messages are kept. The first rule whose pattern matches applies; without one, messages
    are kept forever."""

    pattern: str
    """The topics, such as `chat/*`."""
    max_age: str | None = None
    """Messages older than this are deleted: `30d`, `12h`, `90m`, `45s`."""
    max_count: int | None = None
    """The number of newest messages that are kept per topic."""

    def __post_init__(self) -> None:
        if self.max_age is not None:
            _seconds(self.max_age)
        if self.max_count is not None and self.max_count < 0:
            raise ValueError("max_count is 0 (keep none) or more")

    @property
    def max_age_seconds(self) -> float | None:
        return None if self.max_age is None else _seconds(self.max_age)


class LogRule(Struct, frozen=True, forbid_unknown_fields=True):
    """How many events a channel keeps in memory for clients that reconnect. The first rule whose pattern
    matches applies; without one, the defaults below do."""

    pattern: str
    """The topics, such as `chat/*`."""
    max_count: int = 1_000
    """Events per topic."""
    max_bytes: int = 1024 * 1024
    """Bytes per topic."""
    max_age: str = "2m"
    """Older events are dropped: `2m`, `45s`, `1h`."""

    def __post_init__(self) -> None:
        if self.max_count < 0 or self.max_bytes < 0:
            raise ValueError("max_count and max_bytes of a log are 0 (keep nothing) or more")
        _seconds(self.max_age)

    @property
    def max_age_seconds(self) -> int:
        return _seconds(self.max_age)


class DocumentSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Topics that are documents, which several people edit at once. The server merges their updates. Retention
    does not apply to them. Needs the extra `documents`."""

    topic: str
    """The pattern of topics, such as `docs/{id}`."""
    compact_bytes: int = 256 * 1024
    """Bytes of updates after which a document is merged; a larger document waits for as many as it has."""
    idle: str = "30s"
    """The time without an edit after which it is also merged: `30s`, `5m`."""

    def __post_init__(self) -> None:
        if self.compact_bytes < 1024:
            raise ValueError("compact_bytes of a document is 1024 or more")
        _seconds(self.idle)
        Pattern(self.topic)

    @property
    def idle_seconds(self) -> int:
        return _seconds(self.idle)


class TokenKeyRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that verifies users' tokens. Each has one of `secret`, `public_key` and `jwks`."""

    secret: str | None = None
    """A shared secret of at least 32 characters, for HS256."""
    public_key: str | None = None
    """A public key in PEM, or the file that contains it."""
    jwks: str | None = None
    """The https URL of a key set."""
    algorithm: Algorithm | None = None
    """The one algorithm that is accepted; required for `public_key` and `jwks`."""
    kid: str | None = None
    """The key then verifies only tokens that name it, or name no key."""
    issuer: str | None = None
    """The required `iss` of a token."""
    audience: str | None = None
    """The required `aud` of a token, or one of its values."""

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.secret, self.public_key, self.jwks)) != 1:
            raise ValueError("a token key has one of secret, public_key and jwks")
        if self.secret is not None and self.algorithm not in (None, tokens.SECRET_ALGORITHM):
            raise ValueError(f"a secret is for {tokens.SECRET_ALGORITHM}; for others use public_key or jwks")
        if self.secret is None and self.algorithm in (None, tokens.SECRET_ALGORITHM):
            raise ValueError('public_key and jwks need algorithm = "RS256", "ES256" or "EdDSA"')
        if self.jwks is not None and not _JWKS.match(self.jwks):
            raise ValueError(f"jwks is an https URL, not {self.jwks!r}")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a server."""

    host: str = "127.0.0.1"
    """The address to listen on; `0.0.0.0` is every IPv4 address of the machine."""
    port: int = 8787
    """The port to listen on; 0 picks a free one."""
    database: str = "aerostack.db"
    """A SQLite file, created if it does not exist, or `postgresql://user@host/name`."""
    project: str = "default"
    """The name of the project that this server holds: 1 to 64 of `a-z`, `A-Z`, `0-9`, `_ - . : @ ~` and `+`."""
    backplane: str = "memory"
    """What connects the nodes of a cluster: `redis://host:6379`, `rediss://…`, `unix://…` or
    `redis+sentinel://…`. With `memory` there is one node."""
    backplane_name: str = "default"
    """The cluster's name on its Redis, where several clusters share one."""
    backplane_bytes: int = 512 * 1024 * 1024
    """Bytes of events that Redis may hold for the nodes; above that, the oldest are removed."""
    node_name: str | None = None
    """This node's name in `aerostack cluster`. If not set: the host's name and the port."""
    secret_keys: tuple[str, ...] = ()
    """Keys of your backend, as printed by `aerostack key`. A secret key may do everything."""
    publishable_keys: tuple[str, ...] = ()
    """Keys for apps, as printed by `aerostack key --publishable`. They name the project and prove no user."""
    token_secret: str | None = None
    """The secret of at least 32 characters that verifies users' tokens (HS256)."""
    token_keys: tuple[TokenKeyRule, ...] = ()
    """Further keys that verify users' tokens."""
    anonymous: bool = False
    """Whether clients may connect without a token. Rules then decide what `anyone` may do."""
    open_access: bool = False
    """Set by `aerostack dev`: clients are the users they claim to be. `aerostack serve` refuses it."""
    origins: tuple[str, ...] = ()
    """Web origins that may connect besides the server's own: `https://app.example.com`, `https://*.example.com`,
    `capacitor://localhost`. Not `null`, which any page can send."""
    loopback_origins: bool = False
    """Set by `aerostack dev`: pages of this machine may connect from any port. `aerostack serve` refuses it."""
    query_credentials: bool = True
    """Whether keys and tokens are accepted in the URL of a WebSocket."""
    compression: bool = True
    """Whether frames above 1 KiB are compressed for clients that offer it (permessage-deflate)."""
    batched_writes: Literal["auto", "send", "off"] = "auto"
    """Whether frames of many connections are sent together. `auto`: if the package `aerostack-batched-writes` is
    installed, by io_uring where the kernel allows it. `send`: without io_uring. `off`: one by one."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`."""
    tls_cert: str | None = None
    """A certificate chain in PEM; a reload reads it again."""
    tls_key: str | None = None
    """The private key of the certificate."""
    metrics_host: str = "127.0.0.1"
    """The address on which `metrics_port` listens."""
    metrics_port: int | None = None
    """A port of its own for `/metrics`, without a key; 0 picks a free one. If not set, `/metrics` is at `port` and
    needs the secret key."""
    tracing: bool = False
    """Whether spans are sent to an OpenTelemetry collector, which the `OTEL_*` variables of the environment name.
    Needs the extra `otel`."""
    channels: tuple[ChannelRule, ...] = ()
    """The rights on the topics of a pattern. The first rule whose topic matches decides."""
    tables: tuple[TableRule, ...] = ()
    """Who sees which rows and columns of a table."""
    retention: tuple[RetentionRule, ...] = ()
    """How long stored messages are kept."""
    logs: tuple[LogRule, ...] = ()
    """How many events a channel keeps in memory for clients that reconnect."""
    documents: tuple[DocumentSettings, ...] = ()
    """The topics that are documents."""
    log_bytes: int = 256 * 1024 * 1024
    """Bytes that the logs of all channels may use together; above that, the oldest events are dropped."""
    logging: LogSettings = LogSettings()
    """What the server writes about itself."""
    console: ConsoleSettings = ConsoleSettings()
    """The operators' console."""
    postgres: PostgresSettings = PostgresSettings()
    """How a server uses its PostgreSQL database."""
    limits: Limits = Limits()
    """What one client, user or address may use."""

    def __post_init__(self) -> None:
        if self.project == CONSOLE:
            raise ValueError(f"project {CONSOLE} is reserved for the console; choose another name")
        if not _PROJECT.fullmatch(self.project):
            raise ValueError("project is 1 to 64 of a-z, A-Z, 0-9, _ - . : @ ~ and +, since topics end with it")
        if not 0 <= self.port <= 65535:
            raise ValueError("port is a number from 0 (a free one) to 65535")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ValueError("metrics_port is a number from 0 (a free one) to 65535")
        if not _NAME.fullmatch(self.backplane_name):
            raise ValueError("backplane_name is 1 to 64 of a-z, A-Z, 0-9, _ . and -")
        if self.backplane_bytes < MIN_BACKPLANE_BYTES:
            raise ValueError(f"backplane_bytes is {MIN_BACKPLANE_BYTES} (1 MiB) or more")
        if self.log_bytes < 0:
            raise ValueError("log_bytes is 0 (no channel can be resumed) or more")
