"""Types docs/tutorial.md word for word: `python3 scripts/type_tutorial.py PAGE FOLDER`.

FOLDER is empty except for `.venv`, into which the package was installed; port 8787 has to be free. Saves the
programs, runs the commands, and compares what they print with the page. Needs only Python.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Final

BLOCK: Final = re.compile(r'^```(python|console)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Desk:
    """A folder, and the terminals whose programs keep running in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"
        self._environment = {"PATH": path, "HOME": str(folder), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        self._terminals: dict[str, subprocess.Popen[bytes]] = {}

    def save(self, name: str, program: str) -> None:
        (self._folder / name).write_text(program)
        say(f"saved {name}")

    def type(self, text: str) -> None:
        """Commands that end, each followed by what it prints."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            printed = self._run(command).communicate()[0].decode()
            compare(command, expected, printed)

    def watch(self, title: str, text: str) -> None:
        """Lines of a terminal whose program keeps running."""
        for line in text.splitlines():
            if line.startswith("$ "):
                command = line.removeprefix("$ ")
                self._terminals[title] = self._run(command)
                say(f"{title}: {command}")
                if command.startswith("aerostack dev"):
                    wait_for("http://127.0.0.1:8787", opened(self._terminals[title].stdout))
            elif line == "⏎":
                keyboard = opened(self._terminals[title].stdin)
                keyboard.write(b"\n")
                keyboard.flush()
            else:
                printed = opened(self._terminals[title].stdout).readline().decode().rstrip("\n")
                compare(title, line, printed)

    def leave(self) -> None:
        for terminal in self._terminals.values():
            terminal.kill()
            terminal.communicate()

    def _run(self, command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            f"exec {command}",
            shell=True,
            executable="/bin/bash",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
        )


def wait_for(text: str, stream: IO[bytes]) -> None:
    """Read a program's lines until one has the text."""
    for line in stream:
        if text in line.decode():
            return
    sys.exit(f"error: the program ended before it printed {text}.")


def compare(place: str, expected: str, printed: str) -> None:
    if printed != expected:
        sys.exit(f"error: {place}: the page says\n{expected}\nbut what was printed is\n{printed}")
    say(f"{place}: {printed.strip() or 'nothing, as the page says'}")


def opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "it was opened as a pipe"
    return stream


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(page: Path, folder: Path) -> None:
    desk = Desk(folder)
    try:
        for kind, title, text in BLOCK.findall(page.read_text()):
            if kind == "python":
                desk.save(title, text)
            elif title:
                desk.watch(title, text)
            else:
                desk.type(text)
    finally:
        desk.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
