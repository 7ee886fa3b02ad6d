"""Subscribes to everything and records what its handlers are given.

The record is the handling: one write. So the newest record is also the checkpoint from which the next life of a
killed subscriber continues.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.payload import Payload
from tests.faults.child import END, END_ROW, PEOPLE, STEADY, TABLE, TOPICS, Progress, Role, role, tell
from tests.faults.journal import Journal, last
from tests.faults.recorded import SHOWN


def record(payload: Payload) -> tuple[object, ...]:
    """What is written down of an event."""
    if payload.name == "gap":
        return ("G", payload.cursor)
    if payload.operation is not None:
        ended = payload.data["id"] == END_ROW
        operation = payload.operation[0]
        return ("X" if ended else "R", payload.cursor, operation, payload.data["id"], payload.data["n"])
    if payload.event == END:
        return ("X", payload.cursor)
    return ("E", payload.cursor, *payload.data)


def checkpoint(path: Path) -> str | None:
    """The cursor of the newest record."""
    newest = last(path)
    return newest[1] if newest else None


class Subscriber:
    """One life of a subscriber."""

    def __init__(self, part: Role) -> None:
        self._part = part
        self._progress = Progress()
        self._open: set[str] = set()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        async with self._part.sdk() as sdk:
            for name, topic in [*TOPICS.items(), (TABLE, TABLE)]:
                path = self._part.place / f"{self._part.name}.{name}.handled"
                since = checkpoint(path)
                journal = Journal(path)
                shown = SHOWN[self._part.name] if name == TABLE else None
                filter = {"grp": {"gte": shown.low, "lt": shown.high}} if shown else None
                channel = sdk.realtime.channel(topic, filter=filter, since=since)
                self._open.add(name)
                channel.on("*", partial(self._handle, name, journal))
                await channel.subscribe()
                if since is None:
                    assert channel.cursor is not None, "a subscription has a place"
                    journal.add("S", channel.cursor)
            await self._join(sdk)
            tell("ready")
            await self._ended.wait()
        tell("done")

    async def _join(self, sdk: Aerostack) -> None:
        """Be present, and note the other members as this process saw them, once the end has come."""
        name = self._part.name
        members: dict[str, Any] = {}
        self._open.add(PEOPLE)

        def handle(payload: Payload) -> None:
            if payload.event in ("presence:join", "presence:update"):
                members[payload.data["userId"]] = payload.data["life"]
            elif payload.event == "presence:leave":
                members.pop(payload.data["userId"], None)
                if payload.data["userId"] == STEADY:
                    Journal(self._part.place / f"{name}.flickers").add(payload.cursor or "-")
            elif payload.event == END:
                (self._part.place / f"{name}.members").write_bytes(msgspec.json.encode(members))
                self._ends(PEOPLE)

        channel = sdk.realtime.channel(PEOPLE)
        channel.on("*", handle)
        await channel.subscribe()
        await channel.track({"userId": name, "life": self._part.life})

    def _handle(self, name: str, journal: Journal, payload: Payload) -> None:
        fields = record(payload)
        journal.add(*fields)
        self._progress.add()
        if fields[0] == "X":
            self._ends(name)

    def _ends(self, name: str) -> None:
        self._open.discard(name)
        if not self._open:
            self._ended.set()


if __name__ == "__main__":
    asyncio.run(Subscriber(role()).run())
