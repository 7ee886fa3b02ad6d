"""The answer to "why did this user not get it?": findings in order, a verdict, and the setting that decides."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.access.verdicts import RuleName
from aerostack_realtime.protocol.explanations import Finding, Setting

LONGEST: Final = 80
"""Characters of a value that a sentence shows."""


class Outcome(Struct, frozen=True):
    """A finding that may be the verdict: of several connections the one with the highest `rank` decides."""

    rank: int
    finding: Finding
    setting: Setting | None = None


def setting_of(rule: RuleName | None, name: str, written: str | None = None) -> Setting | None:
    """The setting `name` of a rule."""
    if rule is None:
        return None
    line = name if written is None else f"{name} = {written}"
    return Setting(rule.section, rule.number, name, line)


def clock(ms: int) -> str:
    """A time as sentences write it, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def where(values: Mapping[str, Any]) -> str:
    """The end of a sentence: the values that an expression saw."""
    found = ", ".join(f"{name} = {written(value)}" for name, value in values.items())
    return f", where {found}" if found else ""


def written(value: object) -> str:
    """A value as sentences write it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
