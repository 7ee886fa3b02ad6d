"""How the Python interpreter is set up for a server: short turns for threads, and few rounds of the collector."""

import gc
import sys
from typing import Final

SWITCH_SECONDS: Final = 0.001
"""How long the database's threads may keep the interpreter from the event loop; Python's default is 5 ms."""
GARBAGE_THRESHOLD: Final = 10_000
"""Objects made before the collector looks at the young ones; Python's default, 700, is 20 connections."""


def shorten_thread_turns() -> None:
    """Let the event loop take the interpreter back from threads soon."""
    sys.setswitchinterval(SWITCH_SECONDS)


def freeze_garbage_collector() -> None:
    """Take what is there for good out of the garbage collector's rounds: a full one is a pause for everyone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
