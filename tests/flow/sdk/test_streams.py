"""Streams with the SDK: writing, reading, cancelling, and continuing after reconnects and restarts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime import blocking
from aerostack_realtime.protocol.errors import BadMessage, Cancelled, Conflict
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.payload import Payload
from tests.flow.sdk.test_restart import reconnecting

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

Connect = Callable[..., Awaitable[Aerostack]]
TOPIC = "chat/answers"
WORDS = [f"word{number} " for number in range(50)]


def ended(payloads: list[Payload]) -> bool:
    return bool(payloads) and payloads[-1].state not in (None, "open")


async def test_a_reader_gets_the_text_so_far_the_delta_and_the_state(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    bot, ann, vendor = await connect("bot"), await connect("ann"), await connect()
    growing, whole = recorder(), recorder()
    await ann.realtime.channel(TOPIC, streams=True).on("answer", growing).subscribe()
    await vendor.realtime.channel(TOPIC).on("answer", whole).subscribe()
    async with bot.realtime.channel(TOPIC).stream("answer", persist=True) as stream:
        for word in WORDS:
            await stream.append(word)
    payloads = await growing.until(ended)
    text = "".join(WORDS)
    assert "".join(each.delta for each in payloads) == text
    assert (payloads[-1].data, payloads[-1].state, payloads[-1].id) == (text, "complete", stream.id)
    assert all(text.startswith(each.data) for each in payloads)
    [event] = await whole.first(1)
    assert (event.data, event.state, event.stream, event.id) == (text, None, None, stream.id)
    [stored] = await ann.realtime.channel(TOPIC).get_history()
    assert (stored.data, stored.id) == (text, stream.id)


async def test_a_program_iterates_over_the_pieces_of_a_stream(connect: Connect) -> None:
    bot, ann = await connect("bot"), await connect("ann")
    channel = ann.realtime.channel(TOPIC, streams=True)
    await channel.subscribe()
    writing = asyncio.create_task(bot.realtime.channel(TOPIC).pipe("answer", iter(WORDS)))
    seen = []
    async for event in channel:
        if event.stream is not None:
            seen += [piece async for piece in event.stream]
            assert event.stream.state == "complete"
            break
    assert "".join(seen) == "".join(WORDS)
    assert (await writing).state == "complete"


async def test_items_are_streamed_as_a_list(connect: Connect, recorder: "type[EventRecorder]") -> None:
    bot, ann = await connect("bot"), await connect("ann")
    growing = recorder()
    await ann.realtime.channel(TOPIC, streams=True).on("parts", growing).subscribe()
    chunks = [{"type": "start"}, {"type": "text-delta", "delta": "Hi"}, {"type": "finish"}]
    await bot.realtime.channel(TOPIC).pipe("parts", chunks, data=[])
    payloads = await growing.until(ended)
    assert payloads[-1].data == chunks
    assert [item for each in payloads for item in each.delta] == chunks


class Model:
    """A model that answers without end, and notices when its request is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._started = 0

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        self._started += 1
        if self._started > 3:
            await asyncio.Event().wait()  # a tool call that takes forever
        return f"token{self._started} "

    async def aclose(self) -> None:
        self.closed.set()


async def test_a_cancellation_interrupts_the_writer_and_closes_the_model(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    bot, ann = await connect("bot"), await connect("ann")
    growing, model = recorder(), Model()
    channel = ann.realtime.channel(TOPIC, streams=True)
    await channel.on("answer", growing).subscribe()
    writing = asyncio.create_task(bot.realtime.channel(TOPIC).pipe("answer", model, id="a"))
    await growing.until(lambda payloads: bool(payloads) and "token3" in payloads[-1].data)
    await channel.cancel("a", "enough")
    with pytest.raises(Cancelled, match="enough"):
        await writing
    assert model.closed.is_set()
    payloads = await growing.until(ended)
    assert (payloads[-1].state, payloads[-1].data) == ("cancelled", "token1 token2 token3 ")
    await channel.cancel("a")


async def test_a_cancellation_raises_at_the_next_await_of_a_block(connect: Connect) -> None:
    bot, ann = await connect("bot"), await connect("ann")
    opened = asyncio.Event()

    async def write() -> str:
        try:
            async with bot.realtime.channel(TOPIC).stream("answer", id="a"):
                opened.set()
                await asyncio.Event().wait()
        except Cancelled:
            await asyncio.sleep(0)  # the task itself is not cancelled
            return "stopped"
        return "not stopped"

    writing = asyncio.create_task(write())
    await opened.wait()
    await ann.realtime.channel(TOPIC).cancel("a")
    assert await writing == "stopped"


async def test_a_block_that_raises_ends_its_stream_as_failed(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    bot, ann = await connect("bot"), await connect("ann")
    growing = recorder()
    await ann.realtime.channel(TOPIC, streams=True).on("answer", growing).subscribe()

    async def write() -> None:
        async with bot.realtime.channel(TOPIC).stream("answer") as stream:
            await stream.append("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    payloads = await growing.until(ended)
    assert (payloads[-1].state, payloads[-1].data) == ("failed", "half")


async def test_wrong_use_of_a_stream_is_refused(connect: Connect) -> None:
    bot = await connect("bot")
    channel = bot.realtime.channel(TOPIC)
    async with channel.stream("answer", id="a") as stream:
        with pytest.raises(BadMessage):
            await stream.append(["x"])
        await stream.append("")
        assert stream.n == 0
    with pytest.raises(Conflict):
        await stream.append("late")
    with pytest.raises(Conflict):
        await channel.stream("answer", id="a").open()
    with pytest.raises(BadMessage):
        await channel.stream("presence:join").open()


@pytest.mark.parametrize("persist", [True, False])
async def test_writer_and_reader_continue_after_the_server_was_killed(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]", persist: bool
) -> None:
    bot, ann = await connect("bot"), await connect("ann")
    growing = recorder()
    await ann.realtime.channel(TOPIC, streams=True).on("answer", growing).subscribe()
    async with bot.realtime.channel(TOPIC).stream("answer", persist=persist) as stream:
        for word in WORDS[:25]:
            await stream.append(word)
        await growing.until(lambda payloads: bool(payloads) and "word24" in payloads[-1].data)
        await server.kill()
        await reconnecting(bot)
        for word in WORDS[25:30]:
            await stream.append(word)
        await server.start()
        await bot.realtime.connect()
        await ann.realtime.connect()
        for word in WORDS[30:]:
            await stream.append(word)
    text = "".join(WORDS)
    payloads = await growing.until(lambda payloads: payloads[-1].state == "complete")
    assert payloads[-1].data == text


async def test_a_writer_that_was_started_again_continues_its_stream(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    first, second, ann = await connect("bot"), await connect("bot"), await connect("ann")
    growing = recorder()
    await ann.realtime.channel(TOPIC, streams=True).on("answer", growing).subscribe()
    stream = await first.realtime.channel(TOPIC).stream("answer", id="a").open()
    for word in WORDS[:10]:
        await stream.append(word)
    await growing.until(lambda payloads: bool(payloads) and "word9" in payloads[-1].data)
    await first.close()
    async with second.realtime.channel(TOPIC).stream("answer", id="a") as again:
        assert again.n == 10
        for word in WORDS[again.n :]:
            await again.append(word)
    payloads = await growing.until(ended)
    assert "".join(each.delta for each in payloads) == "".join(WORDS)


async def test_a_channel_begins_with_history(connect: Connect, recorder: "type[EventRecorder]") -> None:
    bot, ann = await connect("bot"), await connect("ann")
    for number in range(5):
        await bot.realtime.channel(TOPIC).publish("message", number, persist=True)
    listener = recorder()
    await ann.realtime.channel(TOPIC, history=3).on("message", listener).subscribe()
    await bot.realtime.channel(TOPIC).publish("message", "live")
    assert [each.data for each in await listener.first(4)] == [2, 3, 4, "live"]


async def test_the_blocking_facade_writes_streams(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    growing = recorder()
    channel = ann.realtime.channel(TOPIC, streams=True)
    await channel.on("answer", growing).subscribe()

    def write() -> None:
        with blocking.Aerostack(server.url, api_key=server.secret_key) as sdk:
            with sdk.stream(TOPIC, "answer") as stream:
                for word in WORDS:
                    stream.append(word)
            sdk.pipe(TOPIC, "answer", iter(["a", "b"]))

    await asyncio.to_thread(write)
    payloads = await growing.until(
        lambda payloads: bool(payloads) and payloads[-1].data == "ab" and ended(payloads)
    )
    assert "".join(each.delta for each in payloads) == "".join(WORDS) + "ab"


async def test_the_blocking_facade_is_cancelled_at_the_next_call(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    growing = recorder()
    channel = ann.realtime.channel(TOPIC, streams=True)
    await channel.on("answer", growing).subscribe()
    closed: list[bool] = []

    def endless() -> Iterator[Any]:
        try:
            while True:
                yield "x"
        finally:
            closed.append(True)

    def write() -> None:
        with blocking.Aerostack(server.url, api_key=server.secret_key) as sdk:
            sdk.pipe(TOPIC, "answer", endless(), id="a")

    writing = asyncio.create_task(asyncio.to_thread(write))
    await growing.until(lambda payloads: bool(payloads) and payloads[-1].data != "")
    await channel.cancel("a")
    with pytest.raises(Cancelled):
        await writing
    assert closed == [True]
