"""Reading the JSON of a request, and writing the JSON of an answer."""

from typing import Any

import msgspec
from aiohttp import web

from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, InvalidTopic, RateLimited
from aerostack_realtime.protocol.messages import too_deep
from aerostack_realtime.protocol.nesting import exceeds


def as_json(content: Any, status: int = 200, allow: str | None = None) -> web.Response:
    """An answer. `allow` are the methods that a path has."""
    headers = {"Allow": allow} if allow else {}
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json", headers=headers
    )


def error_response(error: AerostackError) -> web.Response:
    """The answer for an error."""
    response = as_json(error.body(), error.status)
    if isinstance(error, RateLimited):
        response.headers["Retry-After"] = str(error.seconds)
        response.force_close()  # a refusal costs as much as an answer: a flood has to connect again for each
    return response


async def read_body(request: web.Request, kind: Any, nesting: int) -> Any:
    """The body of a request as a `kind`. Raises BadMessage, also for more than `nesting` levels."""
    data = await request.read()
    if exceeds(data, nesting):
        raise too_deep(nesting)
    try:
        data.decode()
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f"The body does not fit this call: {invalid}. See /openapi.json.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise BadMessage(f"The body has to be JSON in UTF-8: {malformed}.") from None


def read_topic(request: web.Request, name: str, project: str) -> str:
    """The topic of the query string, in its canonical form. Raises InvalidTopic, also when it is missing."""
    written = request.query.get(name)
    if not written:
        raise InvalidTopic(f"The parameter {name} is missing: name a topic, such as ?{name}=chat/general.")
    return topics.canonical(written, project)


def read_integer(request: web.Request, name: str, low: int, high: int) -> int | None:
    """A whole number of the query string; None when it is missing. Raises BadMessage."""
    written = request.query.get(name)
    if written is None:
        return None
    number = int(written) if len(written) < 20 and written.isascii() and written.isdigit() else -1
    if not low <= number <= high:
        raise BadMessage(f"{name} is a whole number from {low} to {high}; {written[:40]!r} is not.")
    return number
