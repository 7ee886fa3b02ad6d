"""The command `aerostack` as a person runs it."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tests import preloaded

ADVICE = "nothing has arrived in"
"""Part of the line that `listen` prints to a reader who waits before publishing, as a busy machine does."""

COMMAND = str(Path(sys.executable).with_name("aerostack"))


class Ran(Struct):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one sentence with which it failed."""
        [complaint] = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.err
        return complaint


def environment(**more: str) -> dict[str, str]:
    """Ours, without settings of the person who runs the tests, and wide enough that no line is broken."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AEROSTACK_")}
    return {**own, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **more}


async def aerostack(
    *arguments: str, settings: Mapping[str, str] = {}, cwd: Path | None = None, powerless: bool = False
) -> Ran:
    """Run it to its end; `powerless`: bound by file permissions even where the tests are run by root."""
    process: preloaded.Process | asyncio.subprocess.Process
    if powerless and os.geteuid() == 0:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--bounding-set=-dac_override", COMMAND, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(**settings),
            cwd=cwd,
        )
    else:
        process = await preloaded.start(*arguments, env=environment(**settings), cwd=cwd)
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
