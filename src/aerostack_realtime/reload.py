"""Reading the settings again while the server runs: all of what can change without a restart, or nothing.

Everything that can fail is done before the first part changes. The parts then change in one step of the event
loop, and the rights of every connection are decided again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from aerostack_realtime import config
from aerostack_realtime.access.authentication import Access, prepared
from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.access.jwks import KeySet
from aerostack_realtime.access.keys import Keys
from aerostack_realtime.access.revocations import Revocations
from aerostack_realtime.access.rules import Rules
from aerostack_realtime.channels.custom.log import Bounds
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.config import Settings, SettingsError
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.fetch import fetch
from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import FIXED, Limits, adopt_limits
from aerostack_realtime.gateway.limits.token_bucket import HttpRateLimiter
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.tls import Certificate
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import AerostackError, BadMessage

log = logging.getLogger(__name__)

RELOADED: Final = frozenset(
    {
        "channels",
        "tables",
        "secret_keys",
        "publishable_keys",
        "token_secret",
        "token_keys",
        "anonymous",
        "origins",
        "logs",
        "log_bytes",
        *(f"limits.{name}" for name in Limits.__struct_fields__ if name not in FIXED),
    }
)
"""The settings that a reload applies, besides what is in the certificate's files. The others need a restart."""
REVIEWS: Final = 100
"""Connections whose rights are decided again before others get their turn."""


class Reloaded(Struct, frozen=True, rename="camel"):
    """What a reload changed, and what the file has changed that needs a restart. Both are names of settings."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def __str__(self) -> str:
        said = f"reloaded: {', '.join(self.changed)}" if self.changed else "reloaded; no setting has changed"
        return f"{said}; needs a restart: {', '.join(self.needs_restart)}" if self.needs_restart else said


class Parts(Struct, frozen=True):
    """The parts of a running server that a reload changes. `sessions` are those that are connected now."""

    hub: Hub
    database: Database
    changes: ChangeFanOut
    guard: Guard
    authenticator: Authenticator
    revocations: Revocations
    origins: Origins
    limits: Limits
    pending_sockets: PendingSockets
    rates: HttpRateLimiter
    certificate: Certificate | None
    sessions: Callable[[], Iterable[Session]]


class Reloader:
    """`access` is that of `settings`. `reread` reads and checks the settings; it raises SettingsError."""

    def __init__(self, settings: Settings, access: Access, parts: Parts, reread: Callable[[], Settings]) -> None:
        self._started = self._settings = settings
        self._access = access
        self._parts = parts
        self._reread = reread
        self._busy = asyncio.Lock()
        self._replaced = asyncio.Event()

    async def run(self, asked: asyncio.Event) -> None:
        """Reload whenever `asked` is set, and run what keeps memberships and key sets up to date."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._on_signal(asked))
            while True:
                keepers = [tasks.create_task(self._parts.guard.memberships.keep())]
                keepers += [tasks.create_task(each.keep()) for each in self._access.key_sets]
                await self._replaced.wait()
                self._replaced.clear()
                for keeper in keepers:
                    keeper.cancel()

    async def reload(self) -> Reloaded:
        """Read the settings and apply them. Raises SettingsError and AerostackError, and then nothing changed."""
        async with self._busy:
            settings = self._reread()
            changed = tuple(each for each in _different(self._settings, settings) if each in RELOADED)
            restart = tuple(each for each in _different(self._started, settings) if each not in RELOADED)
            await self._apply(settings)
            self._settings = settings
            found = Reloaded(changed, restart)
        audit.record("reloaded", changed=", ".join(found.changed), needs_restart=", ".join(restart))
        log.info("%s", found)
        return found

    async def answer(self) -> Reloaded:
        """The same for an HTTP call. Raises BadMessage with one sentence on why nothing changed."""
        try:
            return await self.reload()
        except SettingsError as error:
            raise BadMessage(_nothing_changed(error)) from None

    async def _on_signal(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            try:
                await self.reload()
            except SettingsError as error:
                log.error("%s", _nothing_changed(error))
            except AerostackError as error:
                log.error("Nothing changed: %s", error.message)

    async def _apply(self, settings: Settings) -> None:
        """Change all parts. Raises before the first of them has changed."""
        parts = self._parts
        rules, origins = config.rules(settings, before=parts.guard.rules), _origins(settings)
        access = access_of(settings, self._access.key_sets)
        bounds = log_bounds(settings)
        if parts.certificate is not None:
            _check_certificate(parts.certificate)
        authenticator = await prepared(access, parts.revocations, time.time)
        memberships = await self._memberships(rules)
        # Nothing fails from here on, and nothing waits until every part has changed.
        removed = _removed_keys(self._access, access)
        self._access = access
        if parts.certificate is not None:
            parts.certificate.reload()
        parts.authenticator.adopt(authenticator)
        parts.origins.adopt(origins)
        adopt_limits(parts.limits, settings.limits)
        parts.pending_sockets.limits_changed()
        parts.rates.limits_changed()
        moved = memberships is not parts.guard.memberships
        if moved:
            parts.changes.remove(parts.guard.memberships)
        parts.guard.change(rules, memberships)
        parts.hub.counters.rule_of = rules.rule_of
        parts.hub.rebound(bounds, settings.log_bytes)
        reviews = []
        for session in list(parts.sessions()):
            if _may_stay(session.identity, removed, authenticator):
                reviews.append(session.apply_rules(moved=moved))
            else:
                session.close(close_codes.UNAUTHORIZED, "the key of this connection was removed")
        self._replaced.set()
        for number, review in enumerate(reviews):
            if review is not None:
                await review
            if number % REVIEWS == REVIEWS - 1:
                await asyncio.sleep(0)

    async def _memberships(self, rules: Rules) -> Memberships:
        """The memberships that these rules ask for, read and followed. Raises AerostackError."""
        present = self._parts.guard.memberships
        if rules.memberships == present.wanted:
            return present
        memberships = Memberships(rules.memberships, self._parts.database)
        self._parts.changes.add(memberships)
        try:
            await memberships.load()
        except BaseException:
            self._parts.changes.remove(memberships)
            raise
        return memberships


class _Removed(Struct, frozen=True):
    """The fingerprints of API keys that are no longer accepted, and whether a key that checks tokens is among
    what was removed."""

    keys: frozenset[str]
    token_keys: bool


def _removed_keys(before: Access, after: Access) -> _Removed:
    known = after.secret_keys.fingerprints | after.publishable_keys.fingerprints
    had = before.secret_keys.fingerprints | before.publishable_keys.fingerprints
    return _Removed(
        had - known,
        any(each not in after.fixed_keys for each in before.fixed_keys)
        or any(each not in after.key_sets for each in before.key_sets),
    )


def _may_stay(identity: Identity | None, removed: _Removed, authenticator: Authenticator) -> bool:
    """Whether a connection keeps the identity it has. A user's token was checked by a key that is not recorded, so
    that after the removal of one all users authenticate again: their clients reconnect with a new token."""
    if identity is None:
        return True
    if identity.key in removed.keys or (identity.kind == "user" and removed.token_keys):
        return False
    return identity.kind != "anonymous" or identity.key is not None or authenticator.anonymous


def access_of(settings: Settings, known: Sequence[KeySet] = ()) -> Access:
    """Which credentials these settings accept. Key sets that are `known` already stay, with the keys they have.
    Raises SettingsError."""
    by_source = {each.source: each for each in known}
    return Access(
        secret_keys=Keys(settings.secret_keys),
        publishable_keys=Keys(settings.publishable_keys),
        fixed_keys=config.fixed_token_keys(settings),
        key_sets=[
            by_source.get((rule.jwks, rule.algorithm, rule.issuer, rule.audience))
            or KeySet(rule.jwks, rule.algorithm, fetch, issuer=rule.issuer, audience=rule.audience)
            for rule in settings.token_keys
            if rule.jwks is not None and rule.algorithm is not None
        ],
        anonymous=settings.anonymous,
        open_access=settings.open_access,
    )


def log_bounds(settings: Settings) -> list[tuple[str, Bounds]]:
    """How much the logs of channels keep, by pattern."""
    return [
        (rule.pattern, Bounds(rule.max_count, rule.max_bytes, rule.max_age_seconds * 1_000_000))
        for rule in settings.logs
    ]


def _origins(settings: Settings) -> Origins:
    try:
        return Origins(settings.origins, loopback=settings.loopback_origins)
    except ValueError as error:
        raise SettingsError(f"origins: {error}.") from None


def _check_certificate(certificate: Certificate) -> None:
    try:
        certificate.check()
    except ValueError as error:
        raise SettingsError(f"TLS: {error}.") from None


def _nothing_changed(error: SettingsError) -> str:
    first, *others = error.mistakes
    more = f" (and {len(others)} more; `aerostack check` lists them)" if others else ""
    return f"Nothing changed: {first}{more}"


def _different(before: Settings, after: Settings) -> Iterator[str]:
    """The names of the settings that differ."""
    for name in Settings.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and name == "limits":
            yield from (
                f"limits.{each}" for each in Limits.__struct_fields__ if getattr(old, each) != getattr(new, each)
            )
        elif old != new:
            yield name
