"""`python -m bench.load`: reads a Job from stdin, see job.py for the talk that follows."""

import asyncio
import gc
import os
import sys

import uvloop

from bench.load.job import Job, read
from bench.load.worker import Worker


def main() -> None:
    """Run one shard on its core. A failure ends it with one line on stderr."""
    job = read(sys.stdin.readline(), Job)
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    gc.disable()  # a collection over thousands of connections would be a pause, and no cycles grow here
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Worker(job).run())
    except* (OSError, TimeoutError, EOFError) as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        sys.exit(f"{type(first).__name__}: {first}")


if __name__ == "__main__":
    main()
