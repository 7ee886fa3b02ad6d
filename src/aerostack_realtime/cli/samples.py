"""The tables, rows and messages that the example pages start with."""

import random
import sqlite3
import time
from typing import Final

from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.config import Settings
from aerostack_realtime.sdk.aerostack import Aerostack

TABLES: Final = """
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
CREATE TABLE IF NOT EXISTS notifications (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
    created_at INTEGER NOT NULL, read_at INTEGER
);
CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY, subject TEXT NOT NULL, customer TEXT NOT NULL, created_at INTEGER NOT NULL,
    agent_id TEXT, agent_name TEXT, closed_at INTEGER
);
CREATE TABLE IF NOT EXISTS balloons (
    id INTEGER PRIMARY KEY, x REAL NOT NULL, y REAL NOT NULL, round INTEGER NOT NULL DEFAULT 0,
    player_id TEXT, player_name TEXT
);
CREATE TABLE IF NOT EXISTS scores (
    player_id TEXT PRIMARY KEY, name TEXT NOT NULL, points INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS notifications_by_user ON notifications (user_id, created_at);
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (created_at);
CREATE TRIGGER IF NOT EXISTS accepted_bid AFTER UPDATE OF price ON auctions WHEN NEW.leader_id IS NOT NULL
BEGIN
    INSERT INTO bids (auction_id, bidder_id, bidder_name, amount, placed_at)
    VALUES (NEW.id, NEW.leader_id, NEW.leader_name, NEW.price,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
CREATE TRIGGER IF NOT EXISTS caught_balloon AFTER UPDATE OF round ON balloons
BEGIN
    INSERT INTO scores VALUES (NEW.player_id, NEW.player_name, 1)
    ON CONFLICT (player_id) DO UPDATE SET points = points + 1;
END;
"""

TODOS: Final = {
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
CUSTOMERS: Final = ["Amelia", "Santos", "Bessie", "Louis", "Hélène", "Otto", "Jacqueline", "Charles"]
GOODS: Final = [
    ("Leather flying cap", 64.0),
    ("Silk scarf", 38.5),
    ("Pocket barometer", 129.0),
    ("Wool socks", 14.0),
]
ORDERS: Final = 140
ORDERS_WITHIN: Final = 300_000  # ms: the five minutes that the dashboard draws
AUCTION_SECONDS: Final = 15 * 60
TICKETS: Final = [
    ("Jacqueline", "My altimeter shows minus three"),
    ("Charles", "Which oil for a cold morning?"),
    ("Raymonde", "The windsock points the other way"),
]
BALLOONS: Final = 8
CHAT: Final = {
    "general": [
        ("amelia", "Amelia", "Good morning! The windsock finally agrees with the forecast."),
        ("otto", "Otto", "Then we launch at ten. Who checks the ropes?"),
        ("bessie", "Bessie", "Done, twice. The second time for luck."),
        ("amelia", "Amelia", "Open this page in a second window and say hello: it arrives at once."),
    ],
    "support": [
        ("louis", "Louis", "My altimeter shows minus three. I am on the roof."),
        ("igor", "Igor", "Tap it gently. If it shows four, it is the altimeter."),
    ],
}


def ruled(settings: Settings) -> Settings:
    """`settings` in which notifications are only for their user; all other rules stay."""
    feed = ChannelRule("notifications/{user_id}", subscribe="user.id == user_id", publish="server")
    rows = TableRule("notifications", rows={"user_id": "user.id"})
    return replace(settings, channels=(feed, *settings.channels), tables=(rows, *settings.tables))


def seed_tables(path: str) -> None:
    """Create the tables in the SQLite file at `path`, and the file if it does not exist.

    Rows that exist are not changed, so it can be run again; an auction that has ended is opened again.
    """
    now = int(time.time() * 1000)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(TABLES)
    with database:
        _todos(database, now)
        _orders(database, now)
        _auction(database, now)
        _tickets(database, now)
        _balloons(database)
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


def _tickets(database: sqlite3.Connection, now: int) -> None:
    if _filled(database, "tickets"):
        return
    rows = [(f"ticket-{at}", subject, customer, now + at) for at, (customer, subject) in enumerate(TICKETS)]
    database.executemany("INSERT INTO tickets (id, subject, customer, created_at) VALUES (?, ?, ?, ?)", rows)


def _balloons(database: sqlite3.Connection) -> None:
    if _filled(database, "balloons"):
        return
    chance = random.Random(1783)
    rows = [(round(chance.uniform(0.06, 0.94), 3), round(chance.uniform(0.08, 0.9), 3)) for _ in range(BALLOONS)]
    database.executemany("INSERT INTO balloons (x, y) VALUES (?, ?)", rows)


def _filled(database: sqlite3.Connection, table: str) -> bool:
    return bool(database.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0])


async def seed_messages(url: str, key: str, project: str) -> None:
    """Store messages in the rooms of the chat that have none. Raises AerostackError."""
    async with Aerostack(url, api_key=key, project_id=project) as sdk:
        for room, messages in CHAT.items():
            topic = f"chat/{room}"
            if await sdk.realtime.history(topic, limit=1):
                continue
            for user, name, text in messages:
                said = {"userId": user, "userName": name, "text": text}
                await sdk.socket.emit("message", said, topic, persist=True)
