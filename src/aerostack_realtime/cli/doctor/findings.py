"""What the doctor found, one finding for each check."""

from typing import Final, Literal

from msgspec import Struct

from aerostack_realtime.cli.doctor.remedies import NO_REMEDY, Remedy

Result = Literal["ok", "warning", "failed", "skipped"]
KEY_NEEDED: Final = "Needs the server's secret key: --key."


class Finding(Struct, frozen=True):
    """One check. `remedy` has the missing line for each proxy, or for `aerostack.toml`."""

    check: str
    result: Result
    sentence: str
    remedy: Remedy = {}


class Report(Struct, frozen=True):
    """All findings; `proxy` is the one in front of the server, if it names itself."""

    url: str
    proxy: str | None
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        return all(each.result != "failed" for each in self.findings)


def ok(check: str, sentence: str) -> Finding:
    return Finding(check, "ok", sentence)


def failed(check: str, sentence: str, remedy: Remedy = NO_REMEDY) -> Finding:
    return Finding(check, "failed", sentence, remedy)


def warning(check: str, sentence: str, remedy: Remedy = NO_REMEDY) -> Finding:
    return Finding(check, "warning", sentence, remedy)


def skipped(check: str, sentence: str) -> Finding:
    return Finding(check, "skipped", sentence)
