"""The command `aerostack`."""

from aerostack_realtime.cli.main import main

__all__ = ["main"]
