"""Puts the tables of the examples and pleasant rows into a database: `python examples/seed.py demo.db`.

Nothing that is there is changed, so it may be run again; an auction that is over is opened again.
"""

import random
import sqlite3
import sys
import time

TABLES = """
CREATE TABLE IF NOT EXISTS todos (
    id TEXT PRIMARY KEY, list_id TEXT NOT NULL, text TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, total REAL NOT NULL,
    status TEXT NOT NULL, created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS auctions (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL, opening INTEGER NOT NULL,
    step INTEGER NOT NULL, price INTEGER NOT NULL, leader_id TEXT, leader_name TEXT, ends_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS bids (
    id INTEGER PRIMARY KEY, auction_id TEXT NOT NULL REFERENCES auctions (id), bidder_id TEXT NOT NULL,
    bidder_name TEXT NOT NULL, amount INTEGER NOT NULL, placed_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (created_at);
CREATE TRIGGER IF NOT EXISTS accepted_bid AFTER UPDATE OF price ON auctions WHEN NEW.leader_id IS NOT NULL
BEGIN
    INSERT INTO bids (auction_id, bidder_id, bidder_name, amount, placed_at)
    VALUES (NEW.id, NEW.leader_id, NEW.leader_name, NEW.price,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
"""

TODOS = {
    "launch": [
        ("Read the wind at the windsock", True),
        ("Check the ropes twice", True),
        ("Fill the tanks to the second mark", False),
        ("Agree on a radio frequency", False),
        ("Bring a spare pair of goggles", False),
    ],
    "picnic": [
        ("Sandwiches for eight", False),
        ("A blanket that may get grass on it", True),
        ("Ask the tower about the weather", False),
    ],
}
CUSTOMERS = ["Amelia", "Santos", "Bessie", "Louis", "Hélène", "Otto", "Jacqueline", "Charles"]
GOODS = [("Leather flying cap", 64.0), ("Silk scarf", 38.5), ("Pocket barometer", 129.0), ("Wool socks", 14.0)]
ORDERS = 140
ORDERS_WITHIN = 300_000  # ms: the five minutes that the dashboard draws
AUCTION_SECONDS = 15 * 60


def seed(path: str) -> None:
    """Fill the database at `path`, which is made when it is not there."""
    now = int(time.time() * 1000)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(TABLES)
    with database:
        _todos(database, now)
        _orders(database, now)
        _auction(database, now)
    database.close()


def _todos(database: sqlite3.Connection, now: int) -> None:
    if _filled(database, "todos"):
        return
    for name, items in TODOS.items():
        rows = [(f"{name}-{at}", name, text, done, now + at) for at, (text, done) in enumerate(items)]
        database.executemany("INSERT INTO todos VALUES (?, ?, ?, ?, ?)", rows)


def _orders(database: sqlite3.Connection, now: int) -> None:
    if _filled(database, "orders"):
        return
    chance = random.Random(1909)
    for placed in sorted(now - chance.randrange(ORDERS_WITHIN) for _ in range(ORDERS)):
        item, price = chance.choice(GOODS)
        row = (chance.choice(CUSTOMERS), item, price, "paid", placed)
        database.execute(
            "INSERT INTO orders (customer, item, total, status, created_at) VALUES (?, ?, ?, ?, ?)", row
        )


def _auction(database: sqlite3.Connection, now: int) -> None:
    lot = ("altimeter", "Brass altimeter, 1938", "Carried over the Alps twice. The needle still climbs.")
    database.execute(
        "INSERT OR IGNORE INTO auctions VALUES (?, ?, ?, 240, 10, 240, NULL, NULL, 0)",
        lot,
    )
    open_again = "UPDATE auctions SET ends_at = ?, price = opening, leader_id = NULL, leader_name = NULL"
    if database.execute(f"{open_again} WHERE ends_at < ?", (now + AUCTION_SECONDS * 1000, now)).rowcount:
        database.execute("DELETE FROM bids")


def _filled(database: sqlite3.Connection, table: str) -> bool:
    return bool(database.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python examples/seed.py DATABASE")
    seed(sys.argv[1])
