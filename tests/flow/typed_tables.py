"""Tables with columns of many types, and the rules for them."""

import time

import jwt

from tests.flow.conftest import ServerProcess
from tests.flow.wire import Dial, Wire

SECRET = "the token secret of these typed columns"
RULES = f"""
token_secret = "{SECRET}"
[[tables]]
name = "notes"
rows = {{ owner = "user.id" }}
[[tables]]
name = "orders"
rows = {{ user_id = "int(user.claims.account)" }}
[[tables]]
name = "bids"
rows = "double(row.amount) > 9.75 && row.owner == user.id"
[[tables]]
name = "typed"
columns = ["id", "price", "at"]
[[tables]]
name = "room_members"
[[channels]]
topic = "rooms/{{room}}"
members = {{ table = "room_members", room_id = "{{room}}", user_id = "{{user.id}}" }}
"""
UUID = "0b5f1f6e-5f0a-4c3e-9d53-0242ac120002"
TYPES = """
CREATE TABLE IF NOT EXISTS types(
  id INTEGER PRIMARY KEY, price NUMERIC(10, 2), big BIGINT, at TIMESTAMPTZ, day DATE, done BOOLEAN, key UUID,
  tags TEXT[], info JSONB, mood TEXT, ratio DOUBLE PRECISION)
"""
ROWS = (
    f"INSERT INTO types VALUES (1, 9.50, 1, '2026-01-01 12:00:00+00', '2026-01-01', true, '{UUID}', '{{a,b}}', "
    "'{\"n\": 1}', 'é', 1.5)",
    "INSERT INTO types VALUES (2, 10.00, 9007199254740993, '2026-01-01 12:00:00.5+00', '2026-02-01', false, NULL, "
    "NULL, '3', 'Z', 'Infinity')",
    "INSERT INTO types VALUES (3, 100, -9007199254740993, '2026-01-01 14:00:00+01', NULL, NULL, NULL, '{}', "
    "'null', 'a', 'NaN')",
    "INSERT INTO types (id) VALUES (4)",
)


async def entered(dial: Dial, server: ServerProcess, **claims: str) -> Wire:
    """A connection of the user UUID to a server with these rules."""
    token = jwt.encode({"sub": UUID, "exp": time.time() + 300, **claims}, SECRET, algorithm="HS256")
    return await dial(server, protocols=["aerostack-v1", f"aerostack-token.{token}"])
