"""A shared conversation with an assistant: its answers are streams, and its tools change rows that everyone sees.

    pip install aerostack-realtime fastapi uvicorn
    aerostack dev --db assistant.db
    uvicorn --app-dir examples/assistant app:app

Open http://127.0.0.1:8000 in two browsers. The stand-in for a model needs no network; README.md has the settings.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from model import answer_of
from pydantic import BaseModel, Field

from aerostack_realtime import Aerostack, AerostackError, Channel

URL = os.environ.get("AEROSTACK_URL", "http://127.0.0.1:8787")
SECRET_KEY = os.environ.get("AEROSTACK_SECRET_KEY", "ac_secret_dev")
TOPIC = "chat/assistant"
TABLE = "CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0)"
PAGE = Path(__file__).parent / "page"


class Tools:
    """What the assistant may do. Subscribers of the table see each change; nothing announces it."""

    def __init__(self, sdk: Aerostack) -> None:
        self._sdk = sdk

    async def call(self, name: str, argument: str) -> str:
        """The result of a tool, as a sentence. Raises AerostackError."""
        if name == "add_task":
            await self._sdk.db.query("INSERT INTO tasks (title) VALUES (?)", [argument])
            return f"“{argument}” is on the list."
        done = await self._sdk.db.query(
            "UPDATE tasks SET done = 1 WHERE title LIKE ? AND done = 0", [f"%{argument}%"]
        )
        return f"{done.count} task marked as done." if done.count else f"No open task is called “{argument}”."


class Agent:
    """Writes answers; a member of the conversation like everyone else."""

    def __init__(self, sdk: Aerostack) -> None:
        self._room: Channel = sdk.realtime.channel(TOPIC)
        self._sdk = sdk
        self._tools = Tools(sdk)
        self._answers: set[asyncio.Task[None]] = set()

    async def join(self) -> None:
        await self._sdk.db.query(TABLE)
        await self._room.track({"userId": "assistant", "name": "Assistant"})

    async def ask(self, question: "Question") -> str:
        """Publish a question and begin its answer. Returns the answer's id."""
        data = {"name": question.name, "text": question.text}
        await self._room.publish("message", data, persist=True)
        id = str(uuid4())
        task = asyncio.create_task(self._answer(question.text, id))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return id

    async def leave(self) -> None:
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def _answer(self, question: str, id: str) -> None:
        try:
            await self._room.pipe("answer", answer_of(question, self._tools.call), data=[], id=id, persist=True)
        except AerostackError as error:
            if error.code != "cancelled":  # somebody stopped it
                raise


class Question(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    text: str = Field(min_length=1, max_length=2000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Aerostack(URL, api_key=SECRET_KEY) as sdk:
        agent = app.state.agent = Agent(sdk)
        await agent.join()
        yield
        await agent.leave()


app = FastAPI(lifespan=lifespan)


@app.post("/questions")
async def ask(question: Question) -> dict[str, str]:
    return {"answer": await app.state.agent.ask(question)}


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse((PAGE / "index.html").read_text().replace("AEROSTACK_URL", URL))


app.mount("/page", StaticFiles(directory=PAGE))
