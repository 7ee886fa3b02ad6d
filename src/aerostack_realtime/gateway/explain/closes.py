"""Why a connection ended."""

from typing import Final

from aerostack_realtime.gateway.explain.events import period_facts
from aerostack_realtime.gateway.explain.findings import Outcome, clock
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.explanations import Finding
from aerostack_realtime.records import ConnectionRecord

_MEANINGS: Final = {
    close_codes.GOING_AWAY: "the client closed it, as a page does that is left",
    close_codes.ABNORMAL: "the network ended it, or the client closed it without a reason",
    close_codes.PROTOCOL_ERROR: "the client sent a frame that WebSocket does not allow",
    close_codes.MESSAGE_TOO_BIG: "the client sent a frame that is larger than the limits allow",
    close_codes.RESTART: "the server restarted or could not check the token; clients connect again",
    close_codes.SLOW_CONSUMER: "the client read too slowly; it resumes from its cursor",
    close_codes.HEARTBEAT_TIMEOUT: "the client gave no sign of life",
    close_codes.BAD_MESSAGES: "the client sent too many messages that cannot be understood",
    close_codes.UNAUTHORIZED: "the token is missing, wrong, expired or of another user",
    close_codes.FORBIDDEN: "an operator disconnected the user or revoked the token, or access was refused",
    close_codes.AUTH_TIMEOUT: "the client did not authenticate in time",
    close_codes.LIMIT: "the client exceeded a limit",
}


def explained(record: ConnectionRecord) -> tuple[Outcome, list[Finding]]:
    """The verdict about a connection, and what was recorded of it."""
    findings = [
        Finding(
            "connected",
            f"The connection of {record.user or 'a client without a user id'} began at {clock(record.at)}.",
            {"connection": record.id, "user": record.user, "kind": record.kind},
        )
    ]
    for period in record.periods:
        sentence = f"It subscribed to {period.topic} at {clock(period.at)}."
        findings.append(Finding("subscribed", sentence, period_facts(record, period)))
    for note in record.notes:
        sentence = note.message or f"{note.kind.replace('_', ' ').capitalize()} on {note.topic}."
        facts = {"at": note.at, "topic": note.topic, "code": note.code}
        findings.append(Finding(note.kind, sentence, facts))
    if not record.closed_at:
        finding = Finding("open", "The connection is open.", {"waiting": record.waiting})
        return Outcome(0, finding), [*findings, finding]
    code, reason = record.close_code, record.close_reason
    meaning = _MEANINGS.get(code, "the client closed it")
    said = f" ({reason})" if reason else ""
    sentence = f"The connection ended at {clock(record.closed_at)} with code {code}{said}: {meaning}."
    finding = Finding("closed", sentence, {"code": code, "reason": reason, "waiting": record.waiting})
    return Outcome(0, finding), [*findings, finding]
