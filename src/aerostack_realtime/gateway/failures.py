"""Exceptions that nobody expected."""

import logging
import secrets

from aerostack_realtime.protocol.errors import Internal

log = logging.getLogger(__name__)


def internal(failure: Exception, activity: str, connection: str | None = None) -> Internal:
    """Log an unexpected exception with its traceback, and return the error for the client.

    Both contain the same random reference, so that a user's report leads to the log entry. `activity` completes
    the sentence "internal error in …" and holds no payload. `connection` is the id that the client knows too.
    """
    reference = secrets.token_hex(4)
    where = activity if connection is None else f"{activity} of connection {connection}"
    log.error("internal error %s in %s", reference, where, exc_info=failure)
    return Internal(f"The server failed; its log has the details under {reference}.")
