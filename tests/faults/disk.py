"""The disk that the database is on: a small one of its own where we may mount one, so that it can be full."""

import os
import subprocess
from pathlib import Path

MEGABYTE = 1 << 20


class Disk:
    """A directory; `small` when it is a file system of its own."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        directory.mkdir()
        self.directory = directory
        self._ballast = directory / "ballast"
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
        self.small = (
            os.geteuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0
        )

    def fill(self) -> None:
        """Leave no room."""
        file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)
        try:
            step = 64 * MEGABYTE
            size = 0
            while step >= 4096:
                try:
                    os.posix_fallocate(file, size, step)
                    size += step
                except OSError:
                    step //= 4
        finally:
            os.close(file)

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.small:
            subprocess.run(["umount", "-l", str(self.directory)], check=True)
