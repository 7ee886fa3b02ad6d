"""The settings of what a server writes about itself, and where."""

import re
from typing import Final, Literal

from msgspec import Struct

Level = Literal["debug", "info", "warning", "error"]

PARTS: Final = ("access", "backplane", "channels", "database", "gateway", "reload", "server")
"""What `parts` may name: the folders of the source, or a module within one."""
_PART: Final = re.compile(rf"({'|'.join(PARTS)})(\.\w+)*=(debug|info|warning|error)")


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the server writes to stderr about itself, one line for each fact, and where the audit log goes."""

    format: Literal["text", "json"] = "text"
    """`json` writes one object per line, with the facts as members. `--log-format` overrides it."""
    level: Level = "info"
    """The least severe messages that are written."""
    parts: tuple[str, ...] = ()
    """Other levels for parts of the server, such as `database=debug` or `gateway.websocket=warning`."""
    audit_file: str | None = None
    """A file of its own for the audit log, in JSON. It is opened again when a log rotation has moved it."""

    def __post_init__(self) -> None:
        for written in self.parts:
            if not _PART.fullmatch(written):
                raise ValueError(
                    f"a part is written database=debug, with one of {', '.join(PARTS)} and a level; "
                    f"{written!r} is not"
                )

    @property
    def levels(self) -> dict[str, str]:
        """The levels of `parts` by the names of their loggers."""
        split = (written.partition("=") for written in self.parts)
        return {f"aerostack_realtime.{part}": level for part, _, level in split}
