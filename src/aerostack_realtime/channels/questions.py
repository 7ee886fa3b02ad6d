"""Questions and instructions to all nodes: each one answers, and the asking node collects the answers."""

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Answer, Ask
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 3.0
"""How long answers are waited for; a node that takes longer is about to be dead."""

Handler = Callable[[bytes], object]
"""Carries out one kind of question on this node: gets its payload (JSON) and returns the answer, to be encoded."""
Collected = Callable[[list[bytes]], None]


class _Question(Struct):
    done: Collected
    waiting: set[str] | None = None
    answers: list[bytes] = []


class Questions:
    """`later` runs a callable after a delay in seconds. `handlers` are by the kind of question."""

    def __init__(self, journal: Journal, later: Callable[[float, Callable[[], None]], object]) -> None:
        self.handlers: dict[str, Handler] = {}
        self._journal = journal
        self._later = later
        self._open: dict[str, _Question] = {}

    def ask(self, kind: str, payload: object, done: Collected) -> None:
        """Ask all nodes, this one included; `done` gets the answers (JSON) of those that replied in time.

        Raises Overloaded, Unavailable.
        """
        id = secrets.token_hex(8)
        self._open[id] = _Question(done)
        try:
            self._journal.append(Ask(id, kind, msgspec.json.encode(payload)))
        except AerostackError:
            del self._open[id]
            raise
        if id in self._open:
            self._later(WAIT_SECONDS, lambda: self._finish(id))

    def asked(self, item: Ask, nodes: Iterable[str]) -> None:
        """A question entered; `nodes` are those that will answer it."""
        question = self._open.get(item.id)
        if question is not None:
            question.waiting = set(nodes)
        handler = self.handlers.get(item.kind)
        answer: object = None
        if handler is None:
            log.warning("another node asks for %r, which this version does not know", item.kind[:64])
        else:
            answer = handler(item.payload)
        try:
            self._journal.append(Answer(item.id, msgspec.json.encode(answer)))
        except AerostackError as error:
            log.warning("a question of another node cannot be answered: %s", error)

    def answered(self, node: str, item: Answer) -> None:
        question = self._open.get(item.id)
        if question is None or question.waiting is None or node not in question.waiting:
            return
        question.waiting.discard(node)
        question.answers.append(item.payload)
        if not question.waiting:
            self._finish(item.id)

    def ended(self, node: str) -> None:
        """A node is dead or leaves: it does not answer any more."""
        for id, question in list(self._open.items()):
            if question.waiting is not None:
                question.waiting.discard(node)
                if not question.waiting:
                    self._finish(id)

    def _finish(self, id: str) -> None:
        question = self._open.pop(id, None)
        if question is not None:
            question.done(question.answers)
