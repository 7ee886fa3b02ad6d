"""The model of streams on a cluster with many seeds: `python -m tests.faults.stream_seeds 0 1000 1`.

These are the first seed, the one after the last, and how often Redis may lose data in one run.
"""

import logging
import sys

from tests.unit.channels.test_stream_model import run


def main(first: int, until: int, max_fail_overs: int) -> int:
    """Try these seeds; 1 if one failed."""
    logging.disable(logging.CRITICAL)
    failed = 0
    for seed in range(first, until):
        try:
            run(seed, max_fail_overs)
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: {str(error).splitlines()[0]}")
    print(f"{until - first} runs with up to {max_fail_overs} losses: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
