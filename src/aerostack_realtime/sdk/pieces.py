"""What the SDKs of models and agents yield, as pieces of a stream. By shape alone: none of them is imported.

strings                                   themselves; lines of server-sent events (`data: {…}`) as their JSON
OpenAI, Chat Completions                  chunk.choices[0].delta.content
OpenAI, Responses                         type "response.output_text.delta": delta
Anthropic, messages                       type "content_block_delta": delta.text
LangChain                                 chunk.content, also as a list of parts; chunk.text
Pydantic AI, AG-UI events                 type "TEXT_MESSAGE_CONTENT": delta
Pydantic AI, AI SDK events                type "text-delta": delta
Pydantic AI, its own events               part.content, delta.content_delta
"""

import inspect
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

_DELTA_TYPES: Final = frozenset(
    {"TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CHUNK", "text-delta", "response.output_text.delta"}
)
_DONE: Final = "[DONE]"


async def iterate(source: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    """What a source yields, also one that is not asynchronous."""
    if isinstance(source, AsyncIterable):
        async for chunk in source:
            yield chunk
    else:
        for chunk in source:
            yield chunk


@asynccontextmanager
async def closing(source: object) -> AsyncIterator[None]:
    """Close a source at the end, if it can be closed: this ends the request to a model."""
    try:
        yield
    finally:
        close = getattr(source, "aclose", None) or getattr(source, "close", None)
        if close is not None:
            outcome = close()
            if inspect.isawaitable(outcome):
                await outcome


def pieces_of(chunk: Any, *, as_items: bool) -> Iterator[Any]:
    """The pieces in what a source yields: strings, or with `as_items` lists of one item."""
    if isinstance(chunk, bytes):
        chunk = chunk.decode()
    if isinstance(chunk, str) and chunk.startswith("data:"):
        for event in _server_sent(chunk):
            yield from pieces_of(event, as_items=as_items)
    elif as_items:
        yield [_item(chunk)]
    elif text := text_of(chunk):
        yield text


def text_of(chunk: Any) -> str:
    """The text in a chunk; "" where it has none, such as a tool call or the usage at the end."""
    if isinstance(chunk, str):
        return chunk
    if isinstance(chunk, tuple) and chunk:  # LangGraph yields (message, metadata)
        return text_of(chunk[0])
    choices = _member(chunk, "choices")
    if choices is not None:
        return "".join(_text(_member(_member(choice, "delta"), "content")) for choice in choices[:1])
    kind = _member(chunk, "type") or _member(chunk, "event_kind")
    kind = str(getattr(kind, "value", kind) or "")
    delta = _member(chunk, "delta")
    if kind in _DELTA_TYPES:
        return _text(delta)
    if kind == "content_block_delta":
        return _text(_member(delta, "text"))
    if _member(chunk, "event_kind") is not None:
        if kind == "part_start" and str(_member(_member(chunk, "part"), "part_kind")) == "text":
            return _text(_member(_member(chunk, "part"), "content"))
        return _text(_member(delta, "content_delta")) if _is_text_delta(delta) else ""
    if _is_message(chunk):
        return _parts(_member(chunk, "content"))
    return ""


def _is_text_delta(delta: Any) -> bool:
    return str(_member(delta, "part_delta_kind") or "") == "text"


def _is_message(chunk: Any) -> bool:
    """A chunk of LangChain: `type` names its author; content is a string or a list of parts."""
    kind = str(_member(chunk, "type") or "AIMessageChunk")
    return kind in ("AIMessageChunk", "ai") and _member(chunk, "content") is not None


def _parts(content: Any) -> str:
    if isinstance(content, list):
        return "".join(
            part if isinstance(part, str) else _text(_member(part, "text"))
            for part in content
            if isinstance(part, str) or _member(part, "type") in ("text", "text_delta", None)
        )
    return _text(content)


def _server_sent(text: str) -> Iterator[Any]:
    """The JSON of server-sent events."""
    for line in text.splitlines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != _DONE:
            yield json.loads(data)


def _item(chunk: Any) -> Any:
    """An object as JSON can hold it."""
    for method in ("model_dump", "to_dict", "dict"):
        dump = getattr(chunk, method, None)
        if callable(dump) and not isinstance(chunk, type):
            return dump(mode="json", by_alias=True, exclude_none=True) if method == "model_dump" else dump()
    return chunk


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return getattr(value, name, None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
