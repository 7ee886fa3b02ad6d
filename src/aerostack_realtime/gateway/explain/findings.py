"""The answer to "why did this user not get it?": findings in order, a verdict, and the setting that decides."""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from aerostack_realtime.access.verdicts import RuleName


class Finding(Struct, frozen=True):
    """One thing that was found: a code for programs, a sentence for people, and what it is based on."""

    code: str
    sentence: str
    facts: dict[str, Any] = {}


class SettingLine(Struct, frozen=True):
    """The line of aerostack.toml that would change the verdict: `name` in the rule `number` of a section."""

    section: str
    number: int
    name: str
    line: str


class Explanation(Struct, frozen=True):
    """`code` and `verdict` are those of the finding that decided."""

    verdict: str
    code: str
    findings: list[Finding]
    setting: SettingLine | None = None
    nodes: list[str] = []


class Outcome(Struct, frozen=True):
    """A finding that may be the verdict: of several connections the one with the highest `rank` decides."""

    rank: int
    finding: Finding
    setting: SettingLine | None = None


def setting_of(rule: RuleName | None, name: str, written: str | None = None) -> SettingLine | None:
    """The setting `name` of a rule."""
    if rule is None:
        return None
    line = name if written is None else f"{name} = {written}"
    return SettingLine(rule.section, rule.number, name, line)


def clock(ms: int) -> str:
    """A time as sentences write it, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
