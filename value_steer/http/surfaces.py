"""Where in the answers of vLLM's four text APIs an outcome belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

Body = dict[str, Any]

_MOST_TURNS = 8
"""Requests that one answer of the responses API makes of an engine, one for each call of a tool."""


@dataclass(frozen=True, slots=True)
class Place:
    """The end of one answer.

    Attributes:
        target: The object that says why it ended.
        names: Ids of the engine's requests for it, as far as the caller can know them; the last one
            that the engine knows counts.
        answer: Its number among the answers to that request.
    """

    target: Body
    names: tuple[str, ...]
    answer: int = 0


class Surface(Protocol):
    """How an API tells the end of an answer; one object for one HTTP request."""

    @property
    def marks(self) -> re.Pattern[bytes]:
        """Marks of the events that must be read; an event without any is passed on."""
        ...

    def whole(self, body: Body) -> list[Place]:
        """The ends in an answer that is not streamed."""
        ...

    def event(self, data: Body) -> list[Place]:
        """The ends in one event of a stream."""
        ...


class Chat:
    """``/v1/chat/completions``: each choice is an answer."""

    marks = re.compile(rb'"finish_reason":\s*"')

    def whole(self, body: Body) -> list[Place]:
        """See :class:`Surface`."""
        return [
            self._place(body["id"], choice)
            for choice in body.get("choices") or ()
            if choice.get("finish_reason") is not None
        ]

    event = whole

    def _place(self, name: str, choice: Body) -> Place:
        return Place(choice, (name,), choice["index"])


class Completions(Chat):
    """``/v1/completions``: the choices of the first prompt, then those of the next one.

    Args:
        request: Returns the body of the request.
    """

    def __init__(self, request: Callable[[], Body]) -> None:
        self._request = request
        self._choices = 0

    def _place(self, name: str, choice: Body) -> Place:
        index: int = choice["index"]
        if index and not self._choices:  # the first choice is the first, whatever was asked for
            asked = self._request().get("n") or 1
            self._choices = int(float(asked))  # the server takes "2" and 2.0 as well
        prompt, answer = divmod(index, self._choices or 1)
        return Place(choice, (f"{name}-{prompt}",), answer)


class Messages:
    """``/v1/messages``: only the first event of a stream says the id."""

    marks = re.compile(rb"message_(start|delta)")

    def __init__(self) -> None:
        self._name = ""

    def whole(self, body: Body) -> list[Place]:
        """See :class:`Surface`."""
        return [Place(body, (body["id"],))] if body.get("type") == "message" else []

    def event(self, data: Body) -> list[Place]:
        """See :class:`Surface`."""
        if data.get("type") == "message_start":
            self._name = data["message"]["id"]
        if data.get("type") != "message_delta" or data["delta"].get("stop_reason") is None:
            return []
        return [Place(data, (self._name,))]


class Responses:
    """``/v1/responses``: the last event of a stream holds the whole answer."""

    marks = re.compile(rb"response\.(completed|incomplete)")

    def whole(self, body: Body) -> list[Place]:
        """See :class:`Surface`."""
        if body.get("status") not in {"completed", "incomplete"}:
            return []
        names = tuple(f"{body['id']}_{turn}" for turn in range(_MOST_TURNS))
        return [Place(body, names)]

    def event(self, data: Body) -> list[Place]:
        """See :class:`Surface`."""
        ended = data.get("type") in {"response.completed", "response.incomplete"}
        return self.whole(data["response"]) if ended else []


def surface_of(path: str, request: Callable[[], Body]) -> Surface | None:
    """The API behind a path; ``None`` if it is not one whose answers are steered.

    Args:
        path: Of the request.
        request: Returns the request's body.
    """
    if path == "/v1/chat/completions":
        return Chat()
    if path == "/v1/completions":
        return Completions(request)
    if path == "/v1/messages":
        return Messages()
    return Responses() if path == "/v1/responses" else None
