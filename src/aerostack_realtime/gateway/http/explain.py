"""The call that explains why a user did or did not receive something, with the secret key."""

from aiohttp import web

from aerostack_realtime.gateway.explain.explainer import Explainer, Question
from aerostack_realtime.gateway.http.answers import as_json
from aerostack_realtime.gateway.http.callers import Callers


class ExplainCall:
    """`GET /api/v1/realtime/explain`."""

    def __init__(self, *, explainer: Explainer, callers: Callers) -> None:
        self._explainer = explainer
        self._callers = callers

    async def answer(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        return as_json(await self._explainer.explain(Question.of(request.query)))
