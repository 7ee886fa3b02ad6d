"""The process that reads documents: `python -m aerostack_realtime.documents.worker`.

Updates come from clients. A process of its own keeps a broken one from ending the server, and a long merge from
delaying anybody. Requests come on stdin, answers go to stdout.
"""

import os
import sys
from typing import BinaryIO, Final

from msgspec.structs import replace

from aerostack_realtime.documents import merge
from aerostack_realtime.documents.requests import (
    HEAD,
    Answer,
    Corrupt,
    IsNews,
    Merge,
    Message,
    More,
    News,
    Refused,
    Request,
    decode_request,
    framed,
)
from aerostack_realtime.protocol.errors import BadMessage

_NICE: Final = 10
"""How far the server goes before this process where both want the processor."""


def answer(request: Request) -> Answer:
    """Carry out a request."""
    try:
        match request:
            case Merge(messages, forget_before):
                return merge.merged(messages, forget_before)
            case IsNews(messages, candidate):
                found = merge.merged(messages)
                return found if isinstance(found, Corrupt) else News(merge.is_news(found.update, candidate))
    except BadMessage as refused:
        return Refused(refused.message)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    first: list[Message] = []
    while head := requests.read(HEAD):
        request = decode_request(requests.read(int.from_bytes(head, "big")))
        if isinstance(request, More):
            first += request.messages
            continue
        answers.write(framed(answer(replace(request, messages=first + request.messages))))
        answers.flush()
        first = []


if __name__ == "__main__":
    os.nice(_NICE)
    serve(sys.stdin.buffer, sys.stdout.buffer)
