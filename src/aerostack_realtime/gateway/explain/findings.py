"""The answer to "why did this user not get it?": findings in order, a verdict, and the setting that decides."""

from datetime import UTC, datetime

from msgspec import Struct

from aerostack_realtime.access.verdicts import RuleName
from aerostack_realtime.protocol.explanations import Finding, Setting


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
