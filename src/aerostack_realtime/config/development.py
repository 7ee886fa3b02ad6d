"""What `aerostack dev` changes in the settings."""

import ipaddress
from typing import Final

from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.config.settings import ANY_TABLE, Settings
from aerostack_realtime.gateway.limits.settings import UNLIMITED, Limits

DEV_SECRET_KEY: Final = "ac_secret_dev"
DEV_TOKEN_SECRET: Final = "aerostack-dev-token-secret-for-loopback-only"
"""Both are public: only `aerostack dev` accepts them, which listens on loopback."""


def development(settings: Settings) -> Settings:
    """The settings of `aerostack dev`: open, but with the rules and limits of the file if it has any."""
    ruled = bool(settings.channels or settings.tables)
    keys = settings.secret_keys
    if not keys or is_loopback(settings.host):
        keys = (*keys, DEV_SECRET_KEY)
    return replace(
        settings,
        secret_keys=keys,
        token_secret=settings.token_secret or DEV_TOKEN_SECRET,
        anonymous=True,
        open_access=True,
        loopback_origins=True,
        console=replace(settings.console, enabled=True),
        limits=UNLIMITED if settings.limits == Limits() else settings.limits,
        channels=settings.channels if ruled else (ChannelRule("**", "anyone", "anyone", "anyone", "anyone"),),
        tables=settings.tables if ruled else (TableRule(ANY_TABLE, "anyone"),),
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
