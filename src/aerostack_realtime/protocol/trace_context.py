"""`traceparent`, which connects what several programs do for one request (W3C Trace Context)."""

import re
from typing import Final

NAME: Final = "traceparent"
"""The name of the header and of the field."""
_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid(traceparent: str | None) -> str | None:
    """The traceparent, or None if it is not one: as the specification demands, it is then ignored."""
    return traceparent if traceparent is not None and _FORM.fullmatch(traceparent) else None
