"""Which rule decides about an action, and why: for `aerostack check --as`."""

from aerostack_realtime import config
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.verdicts import Action, Explanation, Membership
from aerostack_realtime.cli.console import out
from aerostack_realtime.cli.tables import opened
from aerostack_realtime.config import Loaded
from aerostack_realtime.protocol import topics


async def explain(found: Loaded, address: str, identity: Identity, action: Action, topic: str) -> bool:
    """Print the verdict of the rules with its reason; membership is looked up in the database. Returns whether
    the action is allowed. Raises SettingsError, InvalidTopic, DatabaseUnusable."""
    canonical = topics.canonical(topic, found.settings.project)
    explanation = config.rules(found.settings).explain(identity, canonical, action)
    verdict = explanation.verdict
    allowed, reasons = verdict.allowed, [_reason(explanation, action)]
    if verdict.member is not None:
        allowed = await _contains(found, address, verdict.member)
        reasons.append(_membership(verdict.member, allowed))
    if allowed and verdict.hook is not None:
        allowed = await verdict.hook.ask(identity, topics.without_project(canonical), action)
        reasons.append(f"its function `authorize` says {'yes' if allowed else 'no'}")
    who = identity.user_id or "a client without a token"
    may = "may" if allowed else "may not"
    out.print(f"{who} {may} {action} {topic}".replace(" history ", " read the history of "), markup=False)
    if verdict.rule is not None:
        place = found.place((verdict.rule.section, verdict.rule.number - 1))
        out.print(f"  rule    {verdict.rule}{f', {place}' if place else ''}", markup=False)
    for reason in reasons:
        out.print(f"  reason  {reason}", markup=False)
    if explanation.variables:
        values = ", ".join(f"{name} = {value!r}" for name, value in explanation.variables.items())
        out.print(f"  where   {values}", markup=False)
    return allowed


def _reason(explanation: Explanation, action: Action) -> str:
    match explanation.part:
        case "no_rule":
            return "no rule matches, so only a secret key has access"
        case "rows_only":
            return "rows are written to the database; nobody publishes on a table"
        case "members":
            return "a value that `members` needs is missing"
        case "server":
            return "a secret key may do everything"
        case "action":
            said = f"{action} = {explanation.source!r}"
            if explanation.failure is not None:
                return f"{said}: {explanation.false} has no value: {explanation.failure}"
            if explanation.false is not None and explanation.false != explanation.source:
                return f"{said}: {explanation.false} is not true"
            return said if explanation.verdict.allowed else f"{said} is not fulfilled"


def _membership(member: Membership, found: bool) -> str:
    values = ", ".join(f"{name} = {value!r}" for name, value in zip(member.columns, member.values, strict=True))
    return f"the table {member.table} {'contains' if found else 'does not contain'} a row with {values}"


async def _contains(found: Loaded, address: str, member: Membership) -> bool:
    """Values are compared as text, as the server compares them."""
    conditions = " AND ".join(f"CAST({_quoted(name)} AS TEXT) = ?" for name in member.columns)
    async with opened(address, found.settings) as database:
        sql = f"SELECT count(*) AS n FROM {_quoted(member.table)} WHERE {conditions}"
        result = await database.query(sql, member.values)
    return bool(result.rows[0]["n"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
