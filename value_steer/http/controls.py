"""``/v1/value-steer``: what an operator sees of a running server, and may change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from value_steer.errors import SettingsError
from value_steer.http.asgi import read_body, reply
from value_steer.http.totals import requests_by_outcome
from value_steer.threshold_changes import EXAMPLE, parse_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.http.asgi import Receive, Scope, Send
    from value_steer.http.engines import Engines
    from value_steer.http.totals import Observed, Totals

STATUS = "/v1/value-steer"
THRESHOLDS = f"{STATUS}/thresholds"
_MOST_BYTES = 10_000


class StatusRoute:
    """``GET``: version, modes, thresholds, evidence and totals.

    Args:
        observed: What the engines say.
    """

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer a request."""
        totals = await _totals(self._observed, send)
        if totals is not None:
            requests = requests_by_outcome(totals.counters)
            counted = {"requests": requests, "counters": totals.counters}
            await reply(send, 200, {**totals.status, **counted})


class ThresholdsRoute:
    """``POST``: thresholds for the requests that come from now on, in every engine.

    Args:
        observed: What the engines say.
        engines: Are told.
    """

    def __init__(self, observed: Observed, engines: Engines) -> None:
        self._observed, self._engines = observed, engines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer a request."""
        content = await read_body(receive, _MOST_BYTES)
        totals = await _totals(self._observed, send)
        if totals is None:
            return
        try:
            asked = parsed(content, totals.status["modes"])
        except SettingsError as error:
            await _refuse(send, 400, str(error))
            return
        try:
            modes = await self._engines.tell("steer_set_thresholds", asked)
        except Exception as error:  # noqa: BLE001  (told to who asked)
            await _refuse(send, 500, f"the engine did not change its thresholds: {error}")
            return
        self._observed.forget()
        await reply(send, 200, {"modes": modes})


def parsed(content: bytes, modes: Mapping[str, Any]) -> dict[str, Any]:
    """The thresholds that a request asks for, by mode.

    Args:
        content: The body of the request.
        modes: Those that are enabled.

    Raises:
        SettingsError: Lists every problem.
    """
    if len(content) > _MOST_BYTES:
        msg = f"the body is longer than {_MOST_BYTES} bytes; an example is {EXAMPLE}"
        raise SettingsError(msg)
    try:
        asked = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"the body is no JSON ({error}); an example is {EXAMPLE}"
        raise SettingsError(msg) from error
    parse_changes(asked, {name: mode.get("heads", ()) for name, mode in modes.items()})
    checked: dict[str, Any] = asked
    return checked


async def _totals(observed: Observed, send: Send) -> Totals | None:
    """The engines' totals; ``None`` once a request was answered with why they cannot be had."""
    try:
        return await observed.totals()
    except Exception as error:  # noqa: BLE001  (told to who asked)
        cause = str(error) or type(error).__name__
        await _refuse(send, 503, f"the engine cannot be asked; is its worker ours? {cause}")
        return None


async def _refuse(send: Send, status: int, message: str) -> None:
    """Errors look like the server's own."""
    kind = "BadRequestError" if status == 400 else "InternalServerError"
    error = {"message": message, "type": kind, "param": None, "code": status}
    await reply(send, status, {"error": error})
