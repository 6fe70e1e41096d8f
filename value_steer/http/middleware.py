"""The ASGI middleware: nothing of the server is replaced, its messages are added to."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from value_steer.http.asgi import header, route
from value_steer.http.controls import STATUS, THRESHOLDS, StatusRoute, ThresholdsRoute
from value_steer.http.engines import Engines, Outcomes
from value_steer.http.exchanges import Exchanges
from value_steer.http.notices import Notices
from value_steer.http.replies import Reply
from value_steer.http.scrape import Scrape
from value_steer.http.surfaces import surface_of
from value_steer.http.totals import Observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.http.asgi import Application, Receive, Scope, Send
    from value_steer.http.engines import Outcome

logger = logging.getLogger("value_steer")

_SERVED = "value_steer_serves"
"""Set in the state of an application that has the middleware."""

_ASK_AGAIN = 30.0
"""Seconds until an engine that could not be asked whether it steers is asked again."""


class Steering:
    """Shows the callers and the operator of vLLM's server what steering does.

    For ``--middleware value_steer.http.Steering``. A second one in the same application is
    transparent.

    Args:
        app: What stands behind it.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._server: _Server | None = None
        self._looked = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the start of the server."""
        if not self._looked:
            self._looked = True
            self._server = _look(scope.get("app"))
        if self._server is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._server(self._app, scope, receive, send)


def _look(application: Any) -> _Server | None:  # noqa: ANN401  (the host's)
    """The server behind the middleware; ``None``, and why, if it offers too little."""
    state = getattr(application, "state", None)
    if getattr(state, _SERVED, False):  # --middleware and the endpoint plug-in
        return None
    client = getattr(state, "engine_client", None)
    if client is None:
        logger.warning(
            "value_steer.http.Steering finds no engine behind this server: answers and /metrics "
            "say nothing of steering, and there is no %s",
            STATUS,
        )
        return None
    server = _Server(client)
    setattr(state, _SERVED, True)
    # Routes of the application, because its authentication stands before those, not before us.
    application.add_route(STATUS, StatusRoute(server.observed), methods=["GET"])
    application.add_route(
        THRESHOLDS, ThresholdsRoute(server.observed, server.engines), methods=["POST"]
    )
    return server


class _Server:
    """The middleware of a server that has an engine."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  (the host's)
        self._notices = Notices()
        self.engines = Engines(client)
        self.observed = Observed(self.engines)
        self._outcomes = Outcomes(self.engines, self._notices)
        self._exchanges = Exchanges()
        self._scrape = Scrape(self.observed, self._notices)
        self._steers: bool | None = None
        self._asks = asyncio.Lock()
        self._ask_from = 0.0
        if not self.engines.reaches_all:
            self._steers = False
            logger.warning(
                "this vLLM answers for the first of its engines only: answers carry no outcomes, "
                "and the counters are those of one engine"
            )

    async def __call__(self, app: Application, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = route(scope), scope["method"]
        if method == "GET" and path.rstrip("/") == "/metrics":
            await self._scrape(app, scope, receive, send)
            return
        with self._exchanges.one(receive, header(scope, b"x-request-id")) as exchange:
            surface = surface_of(path, lambda: exchange.asked) if method == "POST" else None
            if surface is None:
                await app(scope, receive, send)
                return

            async def find(names: Sequence[str], answer: int) -> Outcome | None:
                if not exchange.alone or not await self._are_steered():
                    return None
                return await self._outcomes.find(names, answer, exchange.entered)

            await app(scope, exchange.receive, Reply(send, surface, find, self._notices))

    async def _are_steered(self) -> bool:
        """Whether answers have outcomes at all; asked until it is known."""
        async with self._asks:
            if self._steers is None and time.monotonic() >= self._ask_from:
                try:
                    self._steers = (await self.observed.totals()).steers
                except Exception as error:  # noqa: BLE001  (told to the operator; answers go on)
                    self._ask_from = time.monotonic() + _ASK_AGAIN
                    self._notices.warn(
                        "the engine says nothing of steering; is its worker value-steer's?", error
                    )
        return bool(self._steers)
