"""The worker: requests on one stream, answers on another."""

from io import BytesIO

from aerostack_realtime.documents.requests import (
    HEAD,
    Answer,
    AnyRequest,
    Corrupt,
    IsNews,
    Merge,
    Merged,
    More,
    News,
    Refused,
    decode_answer,
    framed,
)
from aerostack_realtime.documents.worker import serve
from tests.unit.documents.test_merge import read, stored, typed


def answers(*requests: AnyRequest) -> list[Answer]:
    """What the worker answers, in its order."""
    said = BytesIO()
    serve(BytesIO(b"".join(map(framed, requests))), said)
    said.seek(0)
    found = []
    while head := said.read(HEAD):
        found.append(decode_answer(said.read(int.from_bytes(head, "big"))))
    return found


def test_the_messages_of_a_document_may_come_in_parts() -> None:
    ann = typed("hello")
    messages = stored(ann.updates)
    whole, again, news = answers(
        More(messages[:2]), More(messages[2:4]), Merge(messages[4:]), Merge(messages), IsNews(messages, b"\0\0")
    )
    assert isinstance(whole, Merged)
    assert whole == again
    assert read(whole.update) == "hello"
    assert news == News(False)


def test_a_broken_request_is_answered_and_the_worker_continues() -> None:
    messages = stored(typed("hello").updates)
    refused, corrupt, merged = answers(
        IsNews(messages, b"\1\2"), Merge([*messages, *stored([b"\1\2"], first=9)]), Merge(messages)
    )
    assert isinstance(refused, Refused)
    assert isinstance(corrupt, Corrupt)
    assert corrupt.position == 9
    assert isinstance(merged, Merged)
