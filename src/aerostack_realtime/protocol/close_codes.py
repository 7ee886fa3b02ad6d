"""The close codes of docs/protocol.md §7."""

from typing import Final

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
ABNORMAL: Final = 1006
"""Never sent: the connection ended without a close frame (RFC 6455 §7.4.1)."""
INVALID_DATA: Final = 1007
MESSAGE_TOO_BIG: Final = 1009
RESTART: Final = 1012
SLOW_CONSUMER: Final = 4000
HEARTBEAT_TIMEOUT: Final = 4001
BAD_MESSAGES: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
AUTH_TIMEOUT: Final = 4408
LIMIT: Final = 4429
