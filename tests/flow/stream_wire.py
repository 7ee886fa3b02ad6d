"""Streams by hand: what writers send and how readers put the frames together."""

from typing import Any

from tests.flow.wire import Wire


async def answer(wire: Wire, id: str) -> dict[str, Any]:
    """The next answer about a stream; what comes before is heard later."""
    passed: list[dict[str, Any]] = []
    while True:
        message = await wire.next()
        if message["type"] in ("ack", "error") and message.get("id") == id:
            wire._passed.extendleft(reversed(passed))
            return message
        passed.append(message)


async def open_stream(wire: Wire, topic: str, id: str = "s", data: Any = "", **fields: Any) -> dict[str, Any]:
    wire.say("publish", topic=topic, event="answer", data=data, id=id, stream=True, **fields)
    return await answer(wire, id)


async def append(wire: Wire, topic: str, n: int, data: Any = None, id: str = "s", **fields: Any) -> dict[str, Any]:
    wire.say("append", topic=topic, id=id, n=n, **({} if data is None else {"data": data}), **fields)
    return await answer(wire, id)


class Reader:
    """Puts a stream together as a client does; every frame has to continue what it has."""

    def __init__(self, id: str = "s") -> None:
        self.id = id
        self.n = -1
        self.data: Any = None
        self.state = "open"
        self.frames = 0

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] not in ("event", "append") or message.get("id") != self.id:
            return
        self.frames += 1
        if message["type"] == "event":
            self.n, self.state = message["stream"]["n"], message["stream"]["state"]
            self.data = message["data"]
            return
        assert message["n"] == self.n, message
        self.n = message["to"]
        self.data += message.get("data", "" if isinstance(self.data, str) else [])
        self.state = message.get("state", "open")

    async def until(self, wire: Wire, n: int, state: str = "open") -> None:
        while (self.n, self.state) != (n, state):
            self.take(await wire.next())
