"""`aerostack key` and `aerostack token`: credentials."""

import re
import secrets
import time
from typing import Annotated, Any

import msgspec
import typer

from aerostack_realtime.access.identity import sign
from aerostack_realtime.access.keys import hashed
from aerostack_realtime.cli.console import err, fail, out
from aerostack_realtime.cli.settings import ConfigFile, loaded
from aerostack_realtime.config import DEV_TOKEN_SECRET

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def key(
    publishable: Annotated[
        bool, typer.Option("--publishable", help="For apps: it names the project and proves no user.")
    ] = False,
) -> None:
    """Generate an API key, and print it with the line for the settings.

    Example: `aerostack key`
    """
    made = f"ac_{'public' if publishable else 'secret'}_{secrets.token_urlsafe(24)}"
    out.print(made, markup=False)
    kind = "publishable" if publishable else "secret"
    err.print(f'{kind}_keys = ["{hashed(made)}"]', markup=False)


def token(
    user: Annotated[str, typer.Option(help="The user id (the token's sub).")],
    name: Annotated[str | None, typer.Option(help="The user's name, as a claim.")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="Another claim, key=value; may be repeated.")] = None,
    ttl: Annotated[str, typer.Option(help="How long the token is valid: 45s, 30m, 1h, 7d.")] = "1h",
    config_file: ConfigFile = None,
) -> None:
    """Print a token for a user, signed with the token_secret of the settings or of `aerostack dev`.

    The client commands take it as --token.

    Example: `aerostack token --user alice --name Alice --ttl 1h`
    """
    secret = loaded(config_file).settings.token_secret or DEV_TOKEN_SECRET
    written = re.fullmatch(r"(\d{1,9})([smhd])", ttl)
    if written is None:
        fail(f"--ttl is written like 45s, 30m, 1h or 7d, not {ttl!r}.", 2)
    if not user:
        fail("--user is the id of a user, which is not empty.", 2)
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + int(written[1]) * _UNITS[written[2]]}
    if name is not None:
        claims["name"] = name
    claims |= claims_of(claim or [])
    out.print(sign(secret, claims), markup=False)


def claims_of(written: list[str]) -> dict[str, Any]:
    """The claims of `--claim key=value`; ends the command when one is written otherwise."""
    claims = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not name or not equals:
            fail(f"--claim is written key=value, not {each!r}.", 2)
        claims[name] = _value(value)
    return claims


def _value(written: str) -> Any:
    """A JSON value (true, 3, [1]) where it is one, else the text itself."""
    try:
        return msgspec.json.decode(written.encode())
    except msgspec.DecodeError:
        return written
