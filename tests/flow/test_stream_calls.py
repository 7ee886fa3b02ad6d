"""The HTTP calls for writers of streams that hold no socket."""

from typing import TYPE_CHECKING

from tests.flow.calls import Http
from tests.flow.stream_wire import Reader, answer
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

STREAMS = "/api/v1/realtime/streams"


async def test_a_stream_is_written_by_http_calls(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    await wire.subscribe("calls/written", streams=True)
    status, opened = await http.post(
        STREAMS, {"topic": "calls/written", "event": "log", "data": [], "persist": True, "id": "s"}
    )
    assert (status, opened["id"], opened["n"], opened["state"]) == (200, "s", 0, "open")
    for n in range(3):
        piece = {"topic": "calls/written", "id": "s", "n": n, "data": [n]}
        status, ack = await http.post(f"{STREAMS}/append", piece)
        assert (status, ack["n"]) == (200, n + 1)
    status, repeat = await http.post(f"{STREAMS}/append", piece)
    assert (status, repeat["n"], repeat["duplicate"]) == (200, 3, True)
    status, done = await http.post(f"{STREAMS}/finish", {"topic": "calls/written", "id": "s"})
    assert (status, done["n"], done["state"]) == (200, 3, "complete")
    reader = Reader()
    await reader.until(wire, 3, "complete")
    assert reader.data == [0, 1, 2]
    [row] = await http.history("calls/written")
    assert (row["data"], row["state"]) == ([0, 1, 2], "complete")


async def test_an_append_that_is_refused_has_its_status(node: "ServerProcess", http: Http) -> None:
    named = {"topic": "calls/refused", "id": "s"}
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": 0, "data": "x"})
    assert (status, body["error"]["code"]) == (404, "not_found")
    await http.post(STREAMS, {**named, "event": "log"})
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": 2, "data": "x"})
    assert (status, body["error"]["code"], body["error"]["n"]) == (409, "out_of_step", 0)
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": 0})
    assert (status, body["error"]["code"]) == (400, "bad_message")
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": -1, "data": "x"})
    assert (status, body["error"]["code"]) == (400, "bad_message")
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": 0, "data": "x"}, key="")
    assert (status, body["error"]["code"]) == (403, "forbidden"), "a client without a user is not the secret key"


async def test_a_cancelled_stream_answers_its_writer_with_409(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    named = {"topic": "calls/cancelled", "id": "s"}
    await http.post(STREAMS, {**named, "event": "log"})
    wire = await dial(node)
    wire.say("cancel", **named)
    assert (await answer(wire, "s"))["state"] == "cancelled"
    status, body = await http.post(f"{STREAMS}/append", {**named, "n": 0, "data": "x"})
    assert (status, body["error"]["code"]) == (409, "cancelled")
    status, body = await http.post(f"{STREAMS}/cancel", {**named, "reason": "twice"})
    assert (status, body["state"], body["duplicate"]) == (200, "cancelled", True)


async def test_a_stream_without_an_id_gets_one(node: "ServerProcess", http: Http) -> None:
    _, first = await http.post(STREAMS, {"topic": "calls/nameless", "event": "log"})
    _, second = await http.post(STREAMS, {"topic": "calls/nameless", "event": "log"})
    assert first["id"] != second["id"]
    status, ack = await http.post(
        f"{STREAMS}/append",
        {"topic": "calls/nameless", "id": first["id"], "n": 0, "data": "all", "state": "failed"},
    )
    assert (status, ack["state"]) == (200, "failed")
