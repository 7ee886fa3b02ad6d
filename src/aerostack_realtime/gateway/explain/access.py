"""Whether a user may do something now, decided by the rules themselves, and why."""

from typing import Any

from msgspec import Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.permissions import Denied
from aerostack_realtime.access.verdicts import Action, Membership
from aerostack_realtime.access.verdicts import Explanation as RuleExplanation
from aerostack_realtime.gateway.explain.findings import setting_of, where
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.explanations import Finding, Setting


class Right(Struct, frozen=True):
    """A right as it is now, with what decided it."""

    allowed: bool
    findings: list[Finding]
    setting: Setting | None


async def right(guard: Guard, identity: Identity, topic: str, action: Action) -> Right:
    """Whether an identity may do `action` on a canonical topic now. `authorize` functions are asked."""
    permissions = guard.permissions(identity)
    explained = permissions.explain(topic, action)
    part, denial = "", ""
    try:
        await permissions.settle(topic, action)
    except Denied as denied:
        part, denial = denied.part, denied.message
    except AerostackError as error:
        part, denial = "unknown", error.message
    allowed = not part
    verdict = explained.verdict
    name: str = action
    findings = [Finding("rule", rule_sentence(explained, action), _facts(explained, action))]
    if verdict.member is not None:
        found = part != "members" and part != "unknown"
        findings.append(_membership(verdict.member, found, part))
        name = name if found else "members"
    if verdict.hook is not None and part in ("", "authorize"):
        says = "allows" if allowed else "denies"
        findings.append(Finding("authorize", f"The function `authorize` of the rule {says} it."))
        name = name if allowed else "authorize"
    if explained.part == "members":
        name = "members"
    if part == "unknown":
        findings.append(Finding("unknown_now", f"The right cannot be decided now: {denial}"))
    written = None if explained.source is None or name != action else _quoted(explained.source)
    setting = None if allowed else setting_of(verdict.rule, name, written)
    return Right(allowed, findings, setting)


def rule_sentence(explained: RuleExplanation, action: Action) -> str:
    """What the rule that decided says, and which part of it is not true."""
    rule = explained.verdict.rule
    by = "" if rule is None else f"{rule}: "
    match explained.part:
        case "no_rule":
            return "No rule matches the topic, so only a secret key has access."
        case "rows_only":
            return f"{by}rows are written to the database; nobody publishes on a table."
        case "members":
            return f"{by}a value that `members` needs is missing from the token."
        case "server":
            return "A secret key may do everything."
        case "action":
            said = f"{by}{action} = {_quoted(explained.source or '')}"
            if explained.verdict.allowed:
                return f"{said} is true."
            if explained.failure is not None:
                return f"{said}: {explained.false} has no value: {explained.failure}."
            if explained.false is not None:
                return f"{said}: {explained.false} is false{where(explained.seen)}."
            return f"{said} does not include this user."


def _facts(explained: RuleExplanation, action: Action) -> dict[str, Any]:
    rule = explained.verdict.rule
    facts: dict[str, Any] = {"action": action, "part": explained.part, "allowed": explained.verdict.allowed}
    if rule is not None:
        facts["rule"] = {"section": rule.section, "number": rule.number, "pattern": rule.pattern}
    if explained.source is not None:
        facts["source"] = explained.source
    if explained.false is not None:
        facts["false"] = explained.false
    if explained.seen:
        facts["values"] = explained.seen
    if explained.variables:
        facts["variables"] = explained.variables
    return facts


def _membership(member: Membership, found: bool, part: str) -> Finding:
    values = dict(zip(member.columns, member.values, strict=True))
    written = ", ".join(f"{name} = {value!r}" for name, value in values.items())
    facts = {"table": member.table, "row": values, "present": found}
    if part == "unknown":
        return Finding("membership_unknown", f"The table {member.table} is being read again.", facts)
    has = "has" if found else "has no"
    code = "membership_present" if found else "membership_missing"
    return Finding(code, f"The table {member.table} {has} a row with {written}.".replace("no a", "no"), facts)


def _quoted(written: str) -> str:
    return '"' + written.replace("\\", "\\\\").replace('"', '\\"') + '"'
