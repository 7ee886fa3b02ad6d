"""The URL of a Redis server or of the Sentinels that watch one.

    redis://[user[:password]@]host[:port][/database]
    rediss://…?ca=FILE&cert=FILE&key=FILE&verify=full|ca|none          over TLS
    unix://[user[:password]@]/path/of/socket[?database=N]
    redis+sentinel://[user[:password]@]host[:port],host[:port]…/master-name[/database]
    rediss+sentinel://…                                               TLS to the Sentinels and the server

`?sentinel_user=…&sentinel_password=…` are for Sentinels that ask for credentials of their own. No error message
quotes a part of the URL that could hold a password.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from aerostack_realtime.backplane.base import JournalUnusable

SERVER_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")

_TLS_OPTIONS: Final = frozenset({"ca", "cert", "key", "verify"})
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_user", "sentinel_password"})
_VERIFY: Final = ("full", "ca", "none")
_FORM: Final = {
    "redis": "redis://host:6379/0",
    "rediss": "rediss://host:6379/0",
    "unix": "unix:///run/redis/redis.sock",
    "redis+sentinel": "redis+sentinel://host1,host2,host3/master-name",
    "rediss+sentinel": "rediss+sentinel://host1,host2,host3/master-name",
}


class Endpoint(Struct, frozen=True):
    """Where a server listens: a host and a port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Credentials(Struct, frozen=True):
    """A user (None: the default user) and its password (None: no authentication)."""

    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


class Tls(Struct, frozen=True):
    """`verify`: "full" checks the certificate and its host name, "ca" the certificate alone, "none" nothing."""

    verify: str = "full"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises JournalUnusable when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.verify != "full":
                context.check_hostname = False
            if self.verify == "none":
                context.verify_mode = ssl.CERT_NONE
            if self.cert:
                context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise JournalUnusable(
                f"The TLS files of the backplane cannot be used ({error}): `ca`, `cert` and `key` name PEM files "
                "that this process may read; the key must not be encrypted."
            ) from None
        return context


class Address(Struct, frozen=True):
    """A parsed URL. `endpoints` are the server, or the Sentinels when `master` is the name they know it by."""

    endpoints: tuple[Endpoint, ...]
    credentials: Credentials = Credentials()
    database: int = 0
    tls: Tls | None = None
    master: str | None = None
    sentinel_credentials: Credentials = Credentials()

    def __str__(self) -> str:
        """The address as it may be printed: without credentials."""
        places = ",".join(map(str, self.endpoints))
        scheme = "unix" if self.endpoints[0].path else ("rediss" if self.tls else "redis")
        if self.master is not None:
            return f"{scheme}+sentinel://{places}/{self.master}/{self.database}"
        return f"{scheme}://{places}" + (f"/{self.database}" if scheme != "unix" else f"?database={self.database}")


def is_redis_url(url: str) -> bool:
    """Whether `url` is meant for Redis, even if it is written wrong."""
    return url.partition(":")[0].lower() in SCHEMES


def parse_address(url: str) -> Address:
    """Raises JournalUnusable with one sentence that says what to write instead."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES or "://" not in url:
        raise JournalUnusable(f"The backplane's address must begin with one of {', '.join(_FORM)}, then ://.")
    form = _FORM[scheme]
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise JournalUnusable(f"The backplane's address is not a URL: write it like {form}.") from None
    if parts.fragment or "@" in parts.path + parts.query or parts.netloc.count("@") > 1:
        raise JournalUnusable(
            "The backplane's address has a reserved character (one of / ? # @ : %) in its user or password: "
            "percent-encode it, as %2F, %3F, %23, %40, %3A or %25."
        )
    credentials, places = _credentials(parts)
    tls = _tls(options) if scheme.startswith("rediss") else None
    _check_options(options, scheme)
    if scheme == "unix":
        if places or not parts.path.strip("/"):
            raise JournalUnusable(f"A Unix socket needs an absolute path: write it like {form}.")
        return Address(
            (Endpoint(path=unquote(parts.path)),),
            credentials,
            _database(options.get("database", ""), form),
        )
    if scheme.endswith("+sentinel"):
        name, _, database = parts.path.strip("/").partition("/")
        if not name:
            raise JournalUnusable(f"The name of the master is missing: write it like {form}.")
        return Address(
            _endpoints(places, SENTINEL_PORT, form),
            credentials,
            _database(database, form),
            tls,
            unquote(name),
            Credentials(options.get("sentinel_user"), options.get("sentinel_password")),
        )
    endpoints = _endpoints(places, SERVER_PORT, form)
    if len(endpoints) > 1:
        raise JournalUnusable(
            "The backplane is one server: name one host, or the Sentinels as "
            f"{_FORM[scheme + '+sentinel']}; Redis Cluster is not supported."
        )
    return Address(endpoints, credentials, _database(parts.path.strip("/"), form), tls)


def _credentials(parts: SplitResult) -> tuple[Credentials, str]:
    """The credentials, and the rest of the URL's authority."""
    login, at, places = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    if at and not password:
        raise JournalUnusable(
            "The backplane's address has a user without a password: write user:password@host, or :password@host "
            "for the default user."
        )
    return Credentials(unquote(user) or None, unquote(password) if colon else None), places


def _endpoints(places: str, default: int, form: str) -> tuple[Endpoint, ...]:
    endpoints = []
    for place in places.split(","):
        try:
            split = urlsplit(f"//{place}")
            host, port = split.hostname, split.port
        except ValueError:
            raise JournalUnusable(
                f"A port of the backplane's address is not a number from 1 to 65535: write it like {form}."
            ) from None
        if not host or port == 0:
            raise JournalUnusable(f"A host of the backplane's address is missing: write it like {form}.")
        endpoints.append(Endpoint(host, port or default))
    return tuple(endpoints)


def _database(text: str, form: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise JournalUnusable(f"The database of the backplane's address is not a number: write it like {form}.")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
    verify = options.get("verify", "full")
    if verify not in _VERIFY:
        raise JournalUnusable("The option `verify` of the backplane's address is full, ca or none.")
    if ("key" in options) and "cert" not in options:
        raise JournalUnusable("The backplane's address has a `key` without a `cert`: name both, or `cert` alone.")
    return Tls(verify, options.get("ca"), options.get("cert"), options.get("key"))


def _check_options(options: dict[str, str], scheme: str) -> None:
    known: set[str] = set()
    if scheme.startswith("rediss"):
        known |= _TLS_OPTIONS
    if scheme.endswith("+sentinel"):
        known |= _SENTINEL_OPTIONS
    if scheme == "unix":
        known.add("database")
    if options.keys() - known:
        allowed = ", ".join(sorted(known)) or "none"
        hint = " (TLS options need rediss://)" if options.keys() & _TLS_OPTIONS else ""
        raise JournalUnusable(f"The backplane's address has an unknown option{hint}; {scheme}:// knows {allowed}.")


def _no_password() -> str:
    raise ValueError("the key is encrypted")
