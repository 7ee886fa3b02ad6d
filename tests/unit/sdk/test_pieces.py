"""What `pipe` accepts: recorded sequences of the SDKs of models and agents, without these SDKs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest

from aerostack_realtime.sdk.pieces import closing, iterate, pieces_of

RECORDED = json.loads(Path(__file__).with_name("recorded_events.json").read_text())
OPENAI_CHAT = [
    Object(choices=[Object(delta=Object(role="assistant", content="", tool_calls=None), finish_reason=None)]),
    Object(choices=[Object(delta=Object(role=None, content="Hello"), finish_reason=None)]),
    Object(choices=[Object(delta=Object(role=None, content=", world"), finish_reason=None)]),
    Object(choices=[Object(delta=Object(content=None, tool_calls=[Object(index=0)]), finish_reason=None)]),
    Object(choices=[Object(delta=Object(content=None), finish_reason="stop")]),
    Object(choices=[], usage=Object(total_tokens=9)),
]
OPENAI_RESPONSES = [
    Object(type="response.created", response=Object(id="resp_1")),
    Object(type="response.output_item.added", item=Object(type="message")),
    Object(type="response.output_text.delta", delta="Hello", item_id="msg_1", output_index=0),
    Object(type="response.output_text.delta", delta=", world", item_id="msg_1", output_index=0),
    Object(type="response.function_call_arguments.delta", delta='{"city"', item_id="fc_1"),
    Object(type="response.output_text.done", text="Hello, world"),
    Object(type="response.completed", response=Object(id="resp_1")),
]
ANTHROPIC = [
    Object(type="message_start", message=Object(id="msg_1", content=[])),
    Object(type="content_block_start", index=0, content_block=Object(type="text", text="")),
    Object(type="content_block_delta", index=0, delta=Object(type="text_delta", text="Hello")),
    Object(type="text", text="Hello", snapshot="Hello"),
    Object(type="content_block_delta", index=0, delta=Object(type="text_delta", text=", world")),
    Object(type="content_block_delta", index=1, delta=Object(type="input_json_delta", partial_json="{")),
    Object(type="content_block_stop", index=0),
    Object(type="message_delta", delta=Object(stop_reason="end_turn"), usage=Object(output_tokens=5)),
    Object(type="message_stop"),
]
LANGCHAIN = [
    Object(type="AIMessageChunk", content="", tool_call_chunks=[]),
    Object(type="AIMessageChunk", content="Hello", tool_call_chunks=[]),
    (Object(type="AIMessageChunk", content=[{"type": "text", "text": ", "}]), {"langgraph_node": "agent"}),
    Object(type="AIMessageChunk", content=[{"type": "text", "text": "world"}, {"type": "tool_use", "id": "t"}]),
    Object(type="tool", content="21 degrees"),
]
PYDANTIC_AI = [
    Object(event_kind="part_start", index=0, part=Object(part_kind="text", content="Hello")),
    Object(event_kind="part_delta", index=0, delta=Object(part_delta_kind="text", content_delta=", world")),
    Object(event_kind="part_start", index=1, part=Object(part_kind="tool-call", content="no")),
    Object(event_kind="part_delta", index=1, delta=Object(part_delta_kind="tool_call", args_delta="{}")),
    Object(event_kind="final_result", tool_name=None),
]
AG_UI = [
    'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n',
    'data: {"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}\n\n',
    'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hello"}\n\n',
    'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":", world"}\n\n',
    'data: {"type":"TOOL_CALL_ARGS","toolCallId":"c","delta":"{}"}\n\n',
    'data: {"type":"TEXT_MESSAGE_END","messageId":"m"}\n\n',
    'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\n\n',
]
AI_SDK = [
    b'data: {"type":"start"}\n\n',
    b'data: {"type":"text-start","id":"0"}\n\n',
    b'data: {"type":"text-delta","id":"0","delta":"Hello"}\n\n'
    b'data: {"type":"text-delta","id":"0","delta":", world"}\n\n',
    b'data: {"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"{}"}\n\n',
    b'data: {"type":"finish"}\n\n',
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize(
    "recorded",
    [
        pytest.param(["Hello", ", world"], id="strings"),
        pytest.param(OPENAI_CHAT, id="OpenAI chat completions"),
        pytest.param(OPENAI_RESPONSES, id="OpenAI responses"),
        pytest.param(ANTHROPIC, id="Anthropic"),
        pytest.param(LANGCHAIN, id="LangChain"),
        pytest.param(PYDANTIC_AI, id="Pydantic AI"),
        pytest.param(AG_UI, id="AG-UI"),
        pytest.param(AI_SDK, id="AI SDK"),
    ],
)
def test_the_text_of_a_model_is_piped(recorded: list[Any]) -> None:
    pieces = [piece for chunk in recorded for piece in pieces_of(chunk, as_items=False)]
    assert "".join(pieces) == "Hello, world"
    assert all(pieces)


def as_objects(value: Any) -> Any:
    """Recorded JSON as the objects with attributes that the SDKs yield."""
    if isinstance(value, dict):
        if "tuple" in value:
            return tuple(map(as_objects, value["tuple"]))
        return Object(**{name: as_objects(each) for name, each in value.items()})
    return [as_objects(each) for each in value] if isinstance(value, list) else value


def as_mappings(value: Any) -> Any:
    return tuple(value["tuple"]) if "tuple" in value else value


@pytest.mark.parametrize("shape", [as_objects, as_mappings])
@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_the_events_of_the_sdks_classes_are_piped(recorded: dict[str, Any], shape: Any) -> None:
    """Made with the classes of the packages, in the versions that the file names."""
    chunks = [shape(event) for event in recorded["events"]]
    pieces = [piece for chunk in chunks for piece in pieces_of(chunk, as_items=False)]
    assert "".join(pieces) == "Hello, world"
    if shape is as_mappings:
        items = [
            item for event in recorded["events"] for piece in pieces_of(event, as_items=True) for item in piece
        ]
        assert items == recorded["events"]


def test_events_are_piped_as_items() -> None:
    items = [item for chunk in AI_SDK for piece in pieces_of(chunk, as_items=True) for item in piece]
    assert [item["type"] for item in items] == [
        "start",
        "text-start",
        "text-delta",
        "text-delta",
        "tool-input-delta",
        "finish",
    ]


def test_a_model_object_becomes_json() -> None:
    class Chunk:
        def model_dump(self, **options: Any) -> dict[str, Any]:
            assert options == {"mode": "json", "by_alias": True, "exclude_none": True}
            return {"type": "text"}

    assert list(pieces_of(Chunk(), as_items=True)) == [[{"type": "text"}]]


async def test_sources_of_every_kind_are_read_and_closed() -> None:
    closed: list[str] = []

    async def asynchronous() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("async generator")

    def plain() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("generator")

    class Response:
        def __init__(self) -> None:
            self._left = [2, 1]

        def __aiter__(self) -> "Response":
            return self

        async def __anext__(self) -> int:
            await asyncio.sleep(0)
            if not self._left:
                raise StopAsyncIteration
            return self._left.pop()

        async def close(self) -> None:
            closed.append("response")

    for source in (asynchronous(), plain(), Response(), [1, 2]):
        async with closing(source):
            assert [each async for each in iterate(source)] == [1, 2]
    async with closing(source := asynchronous()):
        assert await anext(source) == 1
    assert closed == ["async generator", "generator", "response", "async generator"]
