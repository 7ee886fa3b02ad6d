"""Creates the tables and rows of the examples, as `aerostack demo` does: `python examples/seed.py demo.db`."""

import sys

from aerostack_realtime.cli.samples import seed_tables

if len(sys.argv) != 2:
    sys.exit("Usage: python examples/seed.py DATABASE")
seed_tables(sys.argv[1])
