"""The answer to "why did this user not get it?", as the server sends it and the clients return it."""

from typing import Any

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One thing that the server found: a code for programs, a sentence for people, and what it is based on."""

    code: str
    sentence: str
    facts: dict[str, Any] = {}


class Setting(Struct, frozen=True):
    """The line of `aerostack.toml` that would change the verdict: `name` in the rule `number` of a section."""

    section: str
    number: int
    name: str
    line: str


class Explanation(Struct, frozen=True):
    """Why a user did or did not receive something. `verdict` is one sentence, `code` its cause
    (docs/guides/explain.md), `findings` lists what was found, `nodes` the nodes that answered."""

    verdict: str
    code: str
    findings: list[Finding]
    setting: Setting | None = None
    nodes: list[str] = []
