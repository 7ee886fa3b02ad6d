"""The model: a stand-in that needs no network and always answers the same, or one with OpenAI's interface."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypedDict

import aiohttp

CallTool = Callable[[str, str], Awaitable[str]]
"""A tool's name and argument to its result."""

PIECES_PER_SECOND = float(os.environ.get("ASSISTANT_PIECES_PER_SECOND", "20"))
BASE_URL = os.environ.get("OPENAI_BASE_URL", "")
"""Such as https://api.openai.com/v1 or http://127.0.0.1:11434/v1. Without it the stand-in answers."""


class Part(TypedDict, total=False):
    """An item of an answer: a piece of text, a tool that is being called, or the tool's result."""

    type: str
    text: str
    tool: str
    argument: str


STORY = (
    "Nobody is announced in this conversation, and yet everyone is on the same page. Each word that you "
    "read was appended to one message, and the server joined the words of a moment for all readers at "
    "once. If you close this page and open it again, you get what was written so far in one piece, and "
    "then the rest. If your train enters a tunnel, the same happens when it leaves it. Somebody else may "
    "press Stop at any time, and the model stops too, because its request is closed. If nobody does, the "
    "answer ends here, is stored once, and can be read tomorrow."
)


def answer_of(question: str, call: CallTool) -> AsyncIterator[Part]:
    """The parts of an answer, as they come. Raises what `call` and the model's server raise."""
    return _openai(question) if BASE_URL else _stand_in(question, call)


async def _stand_in(question: str, call: CallTool) -> AsyncIterator[Part]:
    tool, argument = _tool_for(question)
    if tool:
        async for part in _words("Let me see to that. "):
            yield part
        yield {"type": "tool", "tool": tool, "argument": argument}
        result = await call(tool, argument)
        yield {"type": "result", "tool": tool, "text": result}
        async for part in _words(f"{result} The list beside this conversation shows it already."):
            yield part
    else:
        async for part in _words(STORY):
            yield part


def _tool_for(question: str) -> tuple[str, str]:
    """The tool that a question asks for, and its argument; empty for none."""
    for tool, pattern in (
        ("add_task", r"^(?:please )?(?:add|remember|note)\s+(.+)"),
        ("finish_task", r"^(?:done|finish)\s+(.+)"),
    ):
        found = re.match(pattern, question.strip(), re.IGNORECASE)
        if found:
            return tool, found[1].rstrip(".!")
    return "", ""


async def _words(text: str) -> AsyncIterator[Part]:
    for word in re.findall(r"\S+\s*", text):
        await asyncio.sleep(1 / PIECES_PER_SECOND)
        yield {"type": "text", "text": word}


async def _openai(question: str) -> AsyncIterator[Part]:
    """Text from a server with OpenAI's interface. A cancellation closes the request, which stops the model."""
    body = {
        "model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        "messages": [{"role": "user", "content": question}],
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{BASE_URL}/chat/completions", json=body, headers=headers) as response,
    ):
        async for line in response.content:
            data = line.decode().removeprefix("data:").strip()
            if not data.startswith("{"):
                continue  # an empty line, or the end
            for choice in json.loads(data)["choices"]:
                text = choice["delta"].get("content")
                if text:
                    yield {"type": "text", "text": text}
