"""The disk that the database is on: a small one of its own where we may mount one, so that it can be full."""

import os
import subprocess
from pathlib import Path

MEGABYTE = 1 << 20


class Disk:
    """A directory; `small` when it is a file system of its own.

    Only root may mount one. For other users it is in a user namespace, and is reached through the process that
    keeps the namespace.
    """

    def __init__(self, directory: Path, megabytes: int) -> None:
        directory.mkdir()
        self.directory = directory
        self._mounted = directory
        self._resident: subprocess.Popen[str] | None = None
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
        if os.geteuid() == 0:
            self.small = subprocess.run(mounting, capture_output=True, check=False).returncode == 0
        else:
            self.small = self._mount_in_namespace(mounting)
        self._ballast = self.directory / "ballast"

    def _mount_in_namespace(self, mounting: list[str]) -> bool:
        """Whether that is possible. The namespace ends with its process, which ends with its standard input."""
        script = '"$@" && echo mounted && exec cat'
        namespace = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
        resident = subprocess.Popen(
            [*namespace, "sh", "-c", script, "sh", *mounting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert resident.stdout is not None
        if resident.stdout.readline() != "mounted\n":
            resident.communicate()
            return False
        self._resident = resident
        self.directory = Path(f"/proc/{resident.pid}/root{self._mounted}")
        return True

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
        if self._resident is not None:
            self._resident.communicate()
        elif self.small:
            subprocess.run(["umount", "-l", str(self._mounted)], check=True)
