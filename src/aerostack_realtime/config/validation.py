"""What a server needs from its settings: compiled rules, keys and the certificate, and what is wrong with them."""

import errno
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from aerostack_realtime.access import tokens
from aerostack_realtime.access.keys import MIN_KEY, Keys
from aerostack_realtime.access.rules import RuleError, Rules, broken_rules
from aerostack_realtime.access.tokens import TokenKey
from aerostack_realtime.backplane import factory
from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.config import mistakes
from aerostack_realtime.config.development import DEV_SECRET_KEY, DEV_TOKEN_SECRET
from aerostack_realtime.config.mistakes import SettingsError
from aerostack_realtime.config.settings import ANY_TABLE, Settings
from aerostack_realtime.database.factory import backend_of
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.tls import Certificate

_EVERY_ADDRESS = ("0.0.0.0", "::")
Place = Callable[[mistakes.Path], str | None]
"""Where a setting was written, for the person who has to change it."""


def _nowhere(path: mistakes.Path) -> None:  # noqa: ARG001 - a Place
    return None


def rules(settings: Settings, before: Rules | None = None) -> Rules:
    """The rules, compiled. With `before`, row rules that have not changed are those of before, so that a
    subscription sees that its rows are the same. Raises SettingsError."""
    try:
        return Rules(settings.channels, settings.tables, before)
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


def check_backplane(settings: Settings) -> None:
    """Whether the backplane suits the database, as far as their addresses tell. Raises SettingsError."""
    try:
        factory.check_backplane(settings.backplane, clustered=not backend_of(settings.database).file)
    except JournalUnusable as error:
        raise SettingsError(str(error)) from None


def check_ports(settings: Settings) -> None:
    """Whether the metrics have a port of their own. Raises SettingsError."""
    hosts = {settings.host, settings.metrics_host}
    shared = len(hosts) == 1 or not hosts.isdisjoint(_EVERY_ADDRESS)
    if settings.metrics_port == settings.port != 0 and shared:
        raise SettingsError(f"metrics_port {settings.port} is the server's own port: choose another one.")


def check_audit_file(settings: Settings) -> None:
    """Whether this user can write the audit log; creates no file. Raises SettingsError."""
    file = settings.logging.audit_file
    if file is not None and (reason := _unwritable(file)) is not None:
        raise unwritable_audit_file(file, os.strerror(reason))


def unwritable_audit_file(file: str, reason: str) -> SettingsError:
    access = "Create its directory, and give this user write access to it."
    return SettingsError(f"Cannot write the audit log to {file}: {reason}. {access}")


def _unwritable(file: str) -> int | None:
    """The `errno` with which appending to a file would fail."""
    folder = os.path.dirname(file) or "."
    if os.path.isdir(file):
        return errno.EISDIR
    if not os.path.isdir(folder):
        return errno.ENOENT
    usable = os.access(file, os.W_OK) if os.path.exists(file) else os.access(folder, os.W_OK | os.X_OK)
    return None if usable else errno.EACCES


def check_tracing(settings: Settings) -> None:
    """Whether the packages that tracing needs are installed. Raises SettingsError."""
    if settings.tracing and not all(map(_is_installed, ("opentelemetry.sdk", "opentelemetry.exporter.otlp"))):
        raise SettingsError("tracing needs OpenTelemetry: pip install 'aerostack-realtime[otel]'.")


def check_documents(settings: Settings) -> None:
    """Whether what documents need is installed. Raises SettingsError."""
    if settings.documents and not _is_installed("pycrdt"):
        raise SettingsError("[[documents]] needs pycrdt: pip install 'aerostack-realtime[documents]'.")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


def checks_tokens(settings: Settings) -> bool:
    return settings.token_secret is not None or bool(settings.token_keys)


def problems(settings: Settings, place: Place = _nowhere) -> list[str]:
    """Everything that keeps `aerostack serve` from starting with these settings, each with what to write."""
    found = [*_key_problems(settings), *_rule_problems(settings, place)]
    if not settings.anonymous and not checks_tokens(settings) and not settings.publishable_keys:
        found.append(
            "No client could connect: add token_secret or [[token_keys]] for users, or anonymous = true for"
            " everyone."
        )
    if settings.token_secret == DEV_TOKEN_SECRET:
        found.append("token_secret is the public one of `aerostack dev`: generate your own.")
    else:
        found += _refusal(lambda: fixed_token_keys(settings))
    try:
        Proxies(settings.trusted_proxies)
    except ValueError as error:
        found.append(f"trusted_proxies contains addresses and networks (10.0.0.0/8): {error}.")
    try:
        Origins(settings.origins, loopback=False)
    except ValueError as error:
        found.append(f"origins: {error}.")
    found += _refusal(lambda: certificate(settings))
    found += _refusal(lambda: check_backplane(settings))
    found += _refusal(lambda: check_ports(settings))
    found += _refusal(lambda: check_audit_file(settings))
    found += _refusal(lambda: check_tracing(settings))
    found += _refusal(lambda: check_documents(settings))
    if settings.open_access or settings.loopback_origins:
        found.append("open_access and loopback_origins are for `aerostack dev`: remove them.")
    return found


def _key_problems(settings: Settings) -> list[str]:
    found = []
    if not settings.secret_keys:
        found.append('No secret key: add secret_keys = ["sha256:…"], printed by `aerostack key`.')
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
        found.append("A key is both secret and publishable: everyone with the app would have full access.")
    return found


def _rule_problems(settings: Settings, place: Place) -> list[str]:
    if not settings.channels and not settings.tables:
        return [
            "No rules, so no client could do anything: add for example\n"
            '    [[channels]]\n    topic = "chat/{room}"\n    subscribe = "authenticated"\n'
            '    publish = "authenticated"\n'
            '    [[tables]]\n    name = "orders"\n    rows = { user_id = "user.id" }\n'
            "  `aerostack init` writes a file to start with."
        ]
    found = []
    for section, number, text in broken_rules(settings.channels, settings.tables):
        where = place((section, number))
        found.append(f"{where}: {text}." if where else f"{text}.")
    if any(rule.name == ANY_TABLE for rule in settings.tables):
        found.append('[[tables]] name = "*" shows every table, future ones included: name each one instead.')
    return found


def _refusal(make: Callable[[], object]) -> list[str]:
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
