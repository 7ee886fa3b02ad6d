"""The file that `aerostack init` writes: a server that starts, and every other setting as a comment."""

import textwrap
from typing import Final

from msgspec import NODEFAULT

from aerostack_realtime.config import catalog
from aerostack_realtime.config.catalog import Setting
from aerostack_realtime.config.settings import Settings

_WIDTH: Final = 110
_FOR_DEVELOPMENT: Final = ("open_access", "loopback_origins")
_RULES: Final = """\
# Rights on channels. The first [[channels]] rule whose topic matches decides; where none matches, only a secret
# key has access. A right is "anyone", "authenticated", "server" or an expression such as "user.id == room".
[[channels]]
topic = "chat/{room}"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"

# Row changes of a table: only the rows of the user, only these columns.
# [[tables]]
# name = "orders"
# rows = { user_id = "user.id" }
# columns = ["id", "user_id", "status", "total"]
"""


def written(settings: Settings) -> str:
    """An aerostack.toml with what differs from the defaults in `settings`, the defaults as comments, and a rule
    to start with."""
    every = catalog.settings()
    parts = ["# Settings of Aerostack Realtime. Lines with # are the defaults; remove the # to change one.\n"]
    parts += [
        _line(each, getattr(settings, each.name))
        for each in every
        if each.section is None and each.name not in _FOR_DEVELOPMENT
    ]
    parts.append(_RULES)
    for section in catalog.sections():
        if section.name in ("channels", "tables"):
            continue
        parts.append(f"{_comment(' '.join(section.description.split()))}# {section.title}\n")
        parts += [_line(each, each.default) for each in every if each.section == section.name]
    return "\n".join(parts)


def _line(setting: Setting, value: object) -> str:
    about = _comment(setting.description)
    if setting.default is NODEFAULT or value == setting.default:
        default = setting.default
        shown = '"…"' if default is NODEFAULT or default is None else catalog.toml(default)
        return f"{about}# {setting.name} = {shown}\n"
    return f"{about}{setting.name} = {catalog.toml(value)}\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"
