"""Topic patterns of rules: `chat/{room}`, `users/*/inbox`, `org/{org}/**`."""

import re
from typing import Final

RESERVED: Final = frozenset({"user", "row", "topic", "action", "true", "false", "null", "in"})
_VARIABLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9_\-.:@~+]+")


class Pattern:
    """A topic with holes: `{name}` and `*` stand for one segment, a final `**` for one or more.

    Raises ValueError with what to write instead.
    """

    def __init__(self, written: str) -> None:
        segments = written.split("/")
        self.written = written
        self.variables: tuple[str, ...] = tuple(
            found[1] for segment in segments if (found := _VARIABLE.fullmatch(segment))
        )
        if len(set(self.variables)) != len(self.variables):
            raise ValueError(f"the pattern {written!r} names a variable twice")
        if reserved := RESERVED.intersection(self.variables):
            raise ValueError(f"the pattern {written!r} names a variable {min(reserved)!r}, which is taken")
        parts = [_part(segment, last=index == len(segments) - 1) for index, segment in enumerate(segments)]
        if None in parts:
            raise ValueError(
                f"the pattern {written!r} is not made of words, {{name}}, * and a final ** separated by slashes"
            )
        self._expression = re.compile("/".join(part for part in parts if part is not None))

    def match(self, topic: str) -> dict[str, str] | None:
        """What the variables stand for in a topic without its project; None when it is not of this pattern."""
        found = self._expression.fullmatch(topic)
        return found.groupdict() if found else None


def _part(segment: str, *, last: bool) -> str | None:
    if segment == "*":
        return "[^/]+"
    if segment == "**":
        return ".+" if last else None
    if variable := _VARIABLE.fullmatch(segment):
        return f"(?P<{variable[1]}>[^/]+)"
    return re.escape(segment) if _LITERAL.fullmatch(segment) else None
