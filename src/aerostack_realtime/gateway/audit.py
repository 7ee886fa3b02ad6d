"""The audit log: one line of JSON for every refusal, disconnect, revocation and use of a secret key.

It says who, from where, what and why; never a payload, a row, a token or a key.
"""

import logging
from typing import Final

import msgspec

from aerostack_realtime.protocol import close_codes

log = logging.getLogger("aerostack_realtime.audit")

CLOSES: Final = frozenset(
    {
        close_codes.BAD_MESSAGES,
        close_codes.UNAUTHORIZED,
        close_codes.FORBIDDEN,
        close_codes.AUTH_TIMEOUT,
        close_codes.LIMIT,
    }
)
"""Close codes of refused or misbehaving clients."""
MAX_TEXT: Final = 256
FACTS: Final = "facts"
"""The attribute of a log record that holds what a line says, for logs in another format."""


def record(event: str, **facts: str | int | None) -> None:
    """Write a line. `facts` that are None are left out; long ones are cut."""
    known = {name: _cut(value) for name, value in facts.items() if value is not None}
    facts = {"audit": event, **known}
    log.info("%s", msgspec.json.encode(facts).decode(), extra={FACTS: facts})


def _cut(value: str | int) -> str | int:
    if isinstance(value, int):
        return value
    return value[:MAX_TEXT].encode(errors="replace").decode()
